"""`EmbedService`: the wire in, the wire out, nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import grpc
from inglenook.common.v1 import Truncation, Usage
from inglenook.embed.v1 import (
    Embedding,
    EmbedRequest,
    EmbedResponse,
    EmbedServiceServicer,
    Encoding,
    InputType,
)

from services.chassis.deadline import remaining_seconds
from services.chassis.errors import InvalidRequest
from services.inference.embedding import EmbedOptions
from services.inference.embedding import InputType as DomainInputType
from services.inference.pooling import Vectors
from services.inference.registry import Registry
from services.inference.tokenizer import Truncation as DomainTruncation
from services.serving.wire import timings

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

SLICE: Final = 32
"""Embeddings encoded between two turns of the event loop."""

INPUT_TYPES: Final[dict[int, DomainInputType | None]] = {
    InputType.INPUT_TYPE_UNSPECIFIED: None,
    InputType.INPUT_TYPE_QUERY: "query",
    InputType.INPUT_TYPE_DOCUMENT: "document",
}
TRUNCATIONS: Final[dict[int, DomainTruncation]] = {
    Truncation.TRUNCATION_UNSPECIFIED: "none",
    Truncation.TRUNCATION_NONE: "none",
    Truncation.TRUNCATION_RIGHT: "right",
    Truncation.TRUNCATION_LEFT: "left",
}
ENCODINGS: Final = {
    Encoding.ENCODING_UNSPECIFIED: Encoding.ENCODING_FLOAT,
    Encoding.ENCODING_FLOAT: Encoding.ENCODING_FLOAT,
    Encoding.ENCODING_FLOAT32: Encoding.ENCODING_FLOAT32,
}


class EmbedServicer(EmbedServiceServicer):
    """Answers Embed with the models of `registry`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def Embed(self, request: EmbedRequest, context: Context) -> EmbedResponse:
        """Embed a list of texts with one model."""
        began = time.perf_counter()
        options = _options(request, context)
        name = self._registry.resolve(request.model)
        result = await self._registry.ready(name).embed(request.inputs, options)
        embeddings = await _encode(result.vectors, packed=request.encoding == Encoding.ENCODING_FLOAT32)
        return EmbedResponse(
            embeddings=embeddings,
            model=name,
            usage=Usage(input_tokens=result.input_tokens),
            timings=timings(
                total=time.perf_counter() - began,
                tokenize=result.tokenize_seconds,
                queue=result.queue_seconds,
                inference=result.inference_seconds,
            ),
        )


def _options(request: EmbedRequest, context: Context) -> EmbedOptions:
    """Return what the request asks for.

    Raises:
        InvalidRequest: An enum has a number that the contract does not define.
    """
    unknown = [
        (field, "has a value that this version does not know")
        for field, value, known in (
            ("input_type", request.input_type, INPUT_TYPES),
            ("truncation", request.truncation, TRUNCATIONS),
            ("encoding", request.encoding, ENCODINGS),
        )
        if value not in known
    ]
    if unknown:
        raise InvalidRequest(unknown)
    remaining = remaining_seconds(context)
    return EmbedOptions(
        input_type=INPUT_TYPES[request.input_type],
        dimensions=request.dimensions if request.HasField("dimensions") else None,
        normalize=request.normalize if request.HasField("normalize") else True,
        truncation=TRUNCATIONS[request.truncation],
        deadline=None if remaining is None else time.monotonic() + remaining,
    )


async def _encode(vectors: Sequence[Vectors], *, packed: bool) -> list[Embedding]:
    """Return embeddings as messages, without holding the event loop for long."""
    embeddings: list[Embedding] = []
    for index, vector in enumerate(vectors, start=1):
        if packed:
            embeddings.append(Embedding(packed=vector.astype("<f4", copy=False).tobytes()))
        else:
            embeddings.append(Embedding(values=vector.tolist()))
        if index % SLICE == 0:
            await asyncio.sleep(0)
    return embeddings
