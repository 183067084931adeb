"""`[models.<name>]`: the models that callers may name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from services.config.sections.base import LENIENT, Decides, Refused, Seconds, Section

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

    elsewhere = {"targets": "the model runs here, from source, or at providers, as targets: remove one"}

    capability: Literal["embed"]
    """What the model does."""
    pooling: Pooling | None = None
    """How token vectors become one embedding. Default: what the model's `1_Pooling/config.json` says;
    a model without that file must say it here."""
    query_prompt: str = ""
    """Put before every input whose `input_type` is query, for example `"query: "`."""
    document_prompt: str = ""
    """Put before every input whose `input_type` is document, for example `"passage: "`."""
    vector_space: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """Models that name the same space give embeddings that can be compared with each other, for example one
    model in two precisions, or here and at a provider. Only between them may a call move when the backend of
    its model cannot answer. Required when `routes.embed` names several backends. Default: a space of its
    own."""


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


TARGET: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([^\s/][^\s]{0,254})")

Effort = Literal["none", "low", "medium", "high"]
"""How hard a model thinks before it answers."""


def check_target(target: str) -> str:
    """Return `target` if it is `provider/upstream_model`."""
    if not TARGET.fullmatch(target):
        message = "must be <provider>/<model at that provider>, for example ollama/gemma3n:e2b"
        raise ValueError(message)
    return target


def split_target(target: str) -> tuple[str, str]:
    """Return provider and upstream model of a target. Models may have slashes in their names."""
    provider, _, upstream_model = target.partition("/")
    return provider, upstream_model


def check_targets(targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return `targets` if there are some, none of them twice."""
    if not targets:  # not min_length: that counts items without the wrong ones
        message = "must name at least one target"
        raise ValueError(message)
    if len(set(targets)) != len(targets):
        message = "names a target twice"
        raise ValueError(message)
    return targets


TargetName = Annotated[
    str, AfterValidator(check_target), WithJsonSchema({"type": "string", "format": "target"})
]
"""`provider/upstream_model`."""

Targets = Annotated[tuple[TargetName, ...], LENIENT, Field(max_length=32), AfterValidator(check_targets)]


class ChatModel(Section):
    """A language model to talk with, at one or several providers."""

    capability: Literal["chat"]
    """What the model does."""
    targets: Targets
    """Who answers: `<provider>/<model at that provider>`, in order, local ones first. The next one is asked
    when those before it cannot answer."""
    weights: dict[TargetName, Annotated[float, Field(gt=0, le=1_000_000)]] = {}
    """Targets named here that stand next to each other in `targets` are equals: each call draws their order,
    one with twice the weight coming first twice as often. Default: the order is always that of `targets`."""
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Longest answer in tokens for calls that do not say. Default: the provider's; 8192 for Anthropic, whose
    API has none."""
    context_length: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most tokens of a conversation. Sent to an Ollama as `num_ctx`, which reloads the model when it changes.
    Default: the provider's."""
    reasoning: Effort | None = None
    """How hard to think, for calls that do not say. Default: the provider's."""
    first_token_timeout_seconds: Annotated[Seconds, Field(gt=0)] = 60.0
    """How long a target may take until the first piece of its answer. A target that says nothing for so
    long is not asked again; the next one is. A local model that has to be loaded first may need more."""
    idle_timeout_seconds: Annotated[Seconds, Field(gt=0)] = 30.0
    """How long a target may pause within an answer. Signs of life without content count, so that a target
    which sends nothing else is only ended by `total_timeout_seconds`."""
    total_timeout_seconds: Annotated[Seconds, Field(gt=0)] = 600.0
    """How long a call may take, over all attempts. A caller's shorter deadline goes before it."""

    @field_validator("weights")
    @classmethod
    def check_weights(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        """Refuse weights of what is no target."""
        targets = info.data.get("targets", weights)  # absent when it has a problem of its own
        if strange := [name for name in weights if name not in targets]:
            message = f"weighs {strange[0]}, which is not among the targets"
            raise Refused(message, "name it under targets, or remove the weight")
        return weights


class RemoteEmbedModel(Section):
    """An embedding model that providers run.

    The chat service answers for it, so `routes.embed` has to lead there: `embed = ["chat"]`. Then embedding
    models that run here have no route.
    """

    capability: Literal["embed"]
    """What the model does."""
    targets: Targets
    """Who answers, in order. All of them must be the same model: embeddings of different models cannot be
    compared, and which target answered is not written on them."""
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Length of a full embedding. An answer of another length is refused. Default: not checked."""
    query_prompt: str = ""
    """Put before every input whose `input_type` is query, for example `"query: "`."""
    document_prompt: str = ""
    """Put before every input whose `input_type` is document, for example `"passage: "`."""
    timeout_seconds: Annotated[Seconds, Field(gt=0)] = 60.0
    """How long a target may take."""
    vector_space: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """Models that name the same space give embeddings that can be compared with each other, for example one
    model in two precisions, or here and at a provider. Only between them may a call move when the backend of
    its model cannot answer. Required when `routes.embed` names several backends. Default: a space of its
    own."""


REMOTE_EMBED: Final = "embed and targets"
"""What sets it apart from an embedding model that runs here; docs/configuration.md says it so."""


def model_kind(section: Any) -> str | None:
    """Return which kind of model a section is about: its capability, and for `embed` who runs it."""
    if isinstance(section, Section):
        capability, remote = getattr(section, "capability", None), hasattr(section, "targets")
    elif isinstance(section, dict):
        capability, remote = section.get("capability"), "targets" in section and "source" not in section
    else:
        return None
    if capability == "embed" and remote:
        return REMOTE_EMBED
    return capability if capability is None or isinstance(capability, str) else ""


LocalModel = EmbedModel | RerankModel | NliModel
"""A model that runs here."""

AnyModel = Annotated[
    Annotated[EmbedModel, Tag("embed")]
    | Annotated[RerankModel, Tag("rerank")]
    | Annotated[NliModel, Tag("nli")]
    | Annotated[ChatModel, Tag("chat")]
    | Annotated[RemoteEmbedModel, Tag(REMOTE_EMBED)],
    Discriminator(model_kind),
    Decides("capability"),
]
"""A model of whichever capability its section names."""
