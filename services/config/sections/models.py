"""`[models.<name>]`: the models that callers may name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.config.sections.base import Section

SOURCE_SCHEMES = ("package:", "dir:")


def check_source(source: str) -> str:
    """Return `source` if it names a place that models can come from."""
    scheme, _, rest = source.partition(":")
    if f"{scheme}:" not in SOURCE_SCHEMES or not rest:
        message = "must be package:<python package>/<folder> or dir:<folder>"
        raise ValueError(message)
    return source


class EmbedModel(Section):
    """A model that turns texts into embeddings."""

    capability: Literal["embed"]
    """What the model does."""
    source: Annotated[str, AfterValidator(check_source)]
    """Where its files are: `package:<python package>/<folder>` inside an installed package, or
    `dir:<folder>` (relative folders start at the configuration file). The folder holds
    `tokenizer.json` and either an `.onnx` file or `config.json` and `model.safetensors` of a BERT
    model, from which a graph is built."""
    pooling: Literal["cls", "mean", "last_token"] | None = None
    """How token vectors become one embedding. Default: what the model's `1_Pooling/config.json` says;
    a model without that file must say it here."""
    max_input_tokens: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    """Longest input in tokens, special tokens included. Default: what the model's
    `sentence_bert_config.json` says, else its number of positions. Never more than that number."""
    query_prompt: str = ""
    """Put before every input whose `input_type` is query, for example `"query: "`."""
    document_prompt: str = ""
    """Put before every input whose `input_type` is document, for example `"passage: "`."""
    precision: Literal["fp32", "fp16", "bf16"] | None = None
    """Number format to run in. Default: fp32 on cpu, fp16 on cuda, bf16 on openvino. fp16 needs cuda
    and bf16 needs openvino: the CPU kernels of ONNX Runtime are not faster in 16 bits."""
    onnx_file: str | None = None
    """Which `.onnx` file to run, relative to the folder. Default: the only one there is, else
    `model.onnx` or `onnx/model.onnx`."""
    preload: bool = True
    """Load the model when the service starts. False: only when `LoadModel` asks for it."""
