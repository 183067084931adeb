"""Embedding over `/api/embed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

from services.chat.answer import Usage
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.decode import count_of
from services.chat.providers.ollama.encode import KeepAlive
from services.chat.providers.provider import Embeddings

EMBED: Final = "/api/embed"
NUMBERS: Final = frozenset({float, int})


def embed_body(
    model: str, inputs: Sequence[str], dimensions: int | None, keep_alive: KeepAlive | None
) -> dict[str, Any]:
    """Return the body of a request. An input that is too long is refused, not cut."""
    body: dict[str, Any] = {"model": model, "input": list(inputs), "truncate": False}
    optional = {"dimensions": dimensions, "keep_alive": keep_alive}
    return body | {name: value for name, value in optional.items() if value is not None}


def read_embeddings(data: Mapping[str, Any], count: int, dimensions: int | None) -> Embeddings:
    """Return the embeddings in an answer.

    Args:
        data: The answer.
        count: How many there must be.
        dimensions: How long they must be; None for any length that they have in common.

    Raises:
        Failure: MALFORMED: they are not what was asked for. NOT_SUPPORTED: they were not shortened.
    """
    vectors = data.get("embeddings")
    if not isinstance(vectors, list) or len(vectors) != count or not all(map(_is_vector, vectors)):
        raise Failure(FailureKind.MALFORMED, "the provider did not send one embedding for each input")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1:
        raise Failure(FailureKind.MALFORMED, "the provider sent embeddings of different lengths")
    if dimensions is not None and lengths != {dimensions}:
        message = "the Ollama or its model does not shorten embeddings to the dimensions asked for"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    return Embeddings(vectors, Usage(input_tokens=count_of(data.get("prompt_eval_count"))))


def _is_vector(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and NUMBERS.issuperset(map(type, value))
        and all(map(_is_finite, value))
    )


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False
