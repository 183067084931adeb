"""Embeddings: OpenAI's `/embeddings`, and the feature extraction of Hugging Face.

https://platform.openai.com/docs/api-reference/embeddings/create;
https://huggingface.co/docs/inference-providers/tasks/feature-extraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from services.chat.answer import Usage
from services.chat.providers.dialect import Outgoing
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.openai.usage import reported, usage_of
from services.chat.providers.provider import Embeddings

EMBEDDINGS_PATH: Final = "/embeddings"


def embeddings_request(upstream_model: str, inputs: Sequence[str], dimensions: int | None) -> Outgoing:
    """Return the request for embeddings of texts."""
    body: dict[str, Any] = {"model": upstream_model, "input": list(inputs), "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return Outgoing(EMBEDDINGS_PATH, body)


def embeddings_of(
    data: Mapping[str, Any], count: int, dimensions: int | None, *, charges_usd: bool
) -> Embeddings:
    """Return the embeddings that a response to `embeddings_request` holds, in the order of the inputs.

    Raises:
        Failure: MALFORMED: it does not hold one for each of `count` inputs. NOT_SUPPORTED: they are not as
            short as asked for.
    """
    items = data.get("data")
    vectors: list[Any] = [None] * count
    for position, item in enumerate(items if isinstance(items, list) else ()):
        index = item.get("index", position) if isinstance(item, dict) else None
        if not isinstance(index, int) or not 0 <= index < count:
            raise _malformed()
        vectors[index] = item.get("embedding")
    usage = reported(data)
    known = Usage() if usage is None else usage_of(usage, charges_usd=charges_usd)
    return Embeddings(_checked(vectors, count, dimensions), known)


def features_request(upstream_model: str, inputs: Sequence[str]) -> Outgoing:
    """Return the request for features of texts, for a base address that ends before `/hf-inference`.

    Raises:
        Failure: NOT_SUPPORTED: the model names a provider behind the router; these have paths of their own.
    """
    model, _, behind = upstream_model.partition(":")
    if behind not in {"", "hf-inference"}:
        message = "embeddings are to be had from hf-inference only; name the model without a provider"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    path = f"/hf-inference/models/{quote(model)}/pipeline/feature-extraction"
    return Outgoing(path, {"inputs": list(inputs)})


def features_of(data: Sequence[Any], count: int) -> Embeddings:
    """Return the embeddings that a response to `features_request` is.

    Raises:
        Failure: NOT_SUPPORTED: there is a vector for every token, because the model has no pooling.
            MALFORMED: it does not hold one for each of `count` inputs.
    """
    if data and isinstance(data[0], list) and data[0] and isinstance(data[0][0], list):
        message = "the model returns a vector for every token, not one for the text; choose another model"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    return Embeddings(_checked(data, count, None), Usage())


def _checked(vectors: Sequence[Any], count: int, dimensions: int | None) -> Sequence[Sequence[float]]:
    if len(vectors) != count or not all(map(_is_vector, vectors)) or len(set(map(len, vectors))) != 1:
        raise _malformed()
    if dimensions is not None and len(vectors[0]) != dimensions:
        raise Failure(FailureKind.NOT_SUPPORTED, "the model cannot shorten its embeddings")
    return vectors


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) in {int, float} for one in value)


def _malformed() -> Failure:
    return Failure(FailureKind.MALFORMED, "the response does not hold an embedding for each input")
