"""`[models.<name>]`: the models that callers may name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from services.config.sections.base import LENIENT, Refused, Seconds, Section

HUB: Final = "hf:"
SOURCES: Final = re.compile(r"package:.+|dir:.+|hf:[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
COMMIT: Final = re.compile(r"[0-9a-f]{40}")

Pooling = Literal["cls", "mean", "last_token"]
"""How token vectors become one embedding."""


def check_source(source: str) -> str:
    """Return `source` if it names a place that models can come from."""
    if not SOURCES.fullmatch(source):
        message = "must be package:<python package>/<folder>, dir:<folder> or hf:<organization>/<name>"
        raise ValueError(message)
    return source


Source = Annotated[str, AfterValidator(check_source)]


class Model(Section):
    """What models that run here have in common."""

    source: Source
    """Where its files are: `package:<python package>/<folder>` inside an installed package,
    `dir:<folder>` (relative folders start at the configuration file), or `hf:<organization>/<name>` on the
    Hugging Face Hub. The folder holds `tokenizer.json` and either an `.onnx` file or `config.json` and
    `model.safetensors` of a BERT, RoBERTa or XLM-RoBERTa model, from which a graph is built."""
    revision: Annotated[str | None, Field(validate_default=True)] = None
    """Commit of an `hf:` source, all 40 characters: the same file always names the same weights. Required
    there, refused elsewhere. Default: none."""
    adapter: Source | None = None
    """LoRA adapter in the format of PEFT, from the same kinds of places: a folder with
    `adapter_config.json` and `adapter_model.safetensors`. It is merged into the weights when the graph is
    built. A `config.json` beside it adds to the model's own, for example `id2label`. Default: none."""
    adapter_revision: Annotated[str | None, Field(validate_default=True)] = None
    """Commit of an `hf:` adapter, as for `revision`. Default: none."""
    max_input_tokens: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    """Longest input in tokens, special tokens included; for pairs, both texts together. Default: what the
    model's `sentence_bert_config.json` says, else its number of positions. Never more than that number."""
    precision: Literal["fp32", "fp16", "bf16"] | None = None
    """Number format to run in. Default: fp32 on cpu, fp16 on cuda, bf16 on openvino. fp16 needs cuda
    and bf16 needs openvino: the CPU kernels of ONNX Runtime are not faster in 16 bits."""
    onnx_file: str | None = None
    """Which `.onnx` file to run, relative to the folder. Default: the only one there is, else
    `model.onnx` or `onnx/model.onnx`."""
    build: Annotated[bool, Field(validate_default=True)] = False
    """Build the graph from `model.safetensors` even where there is an `.onnx` file. Implied by `adapter`."""
    preload: bool = True
    """Load the model when the service starts. False: when it is first needed, see `engine.on_demand`, or
    when `LoadModel` asks for it."""
    idle_unload_seconds: Annotated[Seconds, Field(gt=0)] | None = None
    """Take the model out of memory when nobody has called it for so long. Default: what
    `engine.idle_unload_seconds` says."""

    @field_validator("revision", "adapter_revision")
    @classmethod
    def check_revision(cls, revision: str | None, info: ValidationInfo) -> str | None:
        """Hold hub sources, and only these, to a commit: branches and tags move."""
        source = info.data.get((info.field_name or "").removesuffix("revision").rstrip("_") or "source")
        pinnable = isinstance(source, str) and source.startswith(HUB)
        if revision is None and pinnable:
            message = "is missing: models from the hub are pinned to a commit"
            raise Refused(message, "copy the full commit hash from the repository's history")
        if revision is not None and source is not None and not pinnable:
            message = "is only for hf: sources"
            raise Refused(message, "remove it")
        if revision is not None and not COMMIT.fullmatch(revision):
            message = "must be a full commit hash, 40 hexadecimal digits"
            raise Refused(message, "branches and tags move; copy the hash from the repository's history")
        return revision

    @field_validator("onnx_file")
    @classmethod
    def check_onnx_file(cls, onnx_file: str | None) -> str | None:
        """Hold the name of a graph to the model's folder."""
        path = PurePosixPath("model.onnx" if onnx_file is None else onnx_file)
        if path.is_absolute() or ".." in path.parts or path.suffix != ".onnx" or "\\" in str(path):
            message = "must be the path of an .onnx file inside the model's folder"
            raise Refused(message, 'name it relative to the folder, for example "onnx/model.onnx"')
        return onnx_file

    @field_validator("build")
    @classmethod
    def check_build(cls, build: bool, info: ValidationInfo) -> bool:
        """Refuse two answers to the question which graph to run."""
        if info.data.get("onnx_file") and (build or info.data.get("adapter")):
            message = "contradicts onnx_file: a graph is either built or ready-made"
            raise Refused(message, "remove onnx_file" if build else "remove onnx_file or the adapter")
        return build


class EmbedModel(Model):
    """A model that turns texts into embeddings."""

    capability: Literal["embed"]
    """What the model does."""
    pooling: Pooling | None = None
    """How token vectors become one embedding. Default: what the model's `1_Pooling/config.json` says;
    a model without that file must say it here."""
    query_prompt: str = ""
    """Put before every input whose `input_type` is query, for example `"query: "`."""
    document_prompt: str = ""
    """Put before every input whose `input_type` is document, for example `"passage: "`."""


class RerankModel(Model):
    """A model that scores documents against a query."""

    capability: Literal["rerank"]
    """What the model does."""
    kind: Literal["cross-encoder", "bi-encoder"] = "cross-encoder"
    """cross-encoder: reads query and document together, one or two logits. bi-encoder: an embedding
    model; the score is the similarity of the two embeddings. Faster and less exact."""
    pooling: Pooling | None = None
    """How a bi-encoder's token vectors become one embedding. Default: as for embedding models."""
    query_prompt: str = ""
    """Put before the query, bi-encoder only."""
    document_prompt: str = ""
    """Put before every document, bi-encoder only."""

    @field_validator("pooling", "query_prompt", "document_prompt")
    @classmethod
    def check_kind(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse what only a bi-encoder has."""
        if value and info.data.get("kind") == "cross-encoder":
            message = 'is only for kind = "bi-encoder"'
            raise Refused(message, "remove it, or set the kind")
        return value


class NliModel(Model):
    """A model that says whether one text follows from another."""

    capability: Literal["nli"]
    """What the model does."""
    labels: Annotated[tuple[str, ...], LENIENT, Field(min_length=2, max_length=3)] | None = None
    """What the model's outputs mean, in their order: `entailment`, `neutral`, `contradiction`, or
    `not_entailment` for what is not told apart. Default: the `id2label` of its `config.json`, which some
    models leave at `LABEL_0`, `LABEL_1`."""


AnyModel = Annotated[EmbedModel | RerankModel | NliModel, Field(discriminator="capability")]
"""A model of whichever capability its section names."""
