"""`EmbedService`: the wire in, the wire out, nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from inglenook.common.v1 import Usage
from inglenook.embed.v1 import (
    Embedding,
    EmbedRequest,
    EmbedResponse,
    EmbedServiceServicer,
    Encoding,
    InputType,
)

from services.chassis.errors import InvalidRequest
from services.chassis.trailing import FINGERPRINT_KEY, add_trailing
from services.inference.lifecycle import Registry
from services.inference.models.embedding import EmbeddingModel, EmbedOptions
from services.inference.models.embedding import InputType as DomainInputType
from services.inference.pooling import Vectors
from services.serving.options import TRUNCATIONS, Context, deadline_of, require_known
from services.serving.wire import timings

SLICE: Final = 32
"""Embeddings encoded between two turns of the event loop."""

INPUT_TYPES: Final[dict[int, DomainInputType | None]] = {
    InputType.INPUT_TYPE_UNSPECIFIED: None,
    InputType.INPUT_TYPE_QUERY: "query",
    InputType.INPUT_TYPE_DOCUMENT: "document",
}
ENCODINGS: Final = {
    Encoding.ENCODING_UNSPECIFIED: Encoding.ENCODING_FLOAT,
    Encoding.ENCODING_FLOAT: Encoding.ENCODING_FLOAT,
    Encoding.ENCODING_FLOAT32: Encoding.ENCODING_FLOAT32,
}


class EmbedServicer(EmbedServiceServicer):
    """Answers Embed with the models of `registry`."""

    def __init__(self, registry: Registry[EmbeddingModel]) -> None:
        self._registry = registry

    async def Embed(self, request: EmbedRequest, context: Context) -> EmbedResponse:
        """Embed a list of texts with one model."""
        began = time.perf_counter()
        options = _options(request, context)
        name = self._registry.resolve(request.model)
        lease = self._registry.use(name, options.deadline)
        async with lease as model:
            add_trailing(context, (FINGERPRINT_KEY, lease.fingerprint))
            inputs: Sequence[str] = request.inputs
            if request.token_inputs:
                inputs = await model.texts_of(
                    (one.ids for one in request.token_inputs), len(request.token_inputs)
                )
            result = await model.embed(inputs, options)
        del model  # else it is still there when an unload gives back what was freed
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
        InvalidRequest: An enum has a number that the contract does not define, or there are texts and tokens.
    """
    require_known(
        ("input_type", request.input_type, INPUT_TYPES),
        ("truncation", request.truncation, TRUNCATIONS),
        ("encoding", request.encoding, ENCODINGS),
    )
    if request.inputs and request.token_inputs:
        raise InvalidRequest([("token_inputs", "must not be set together with inputs")])
    return EmbedOptions(
        input_type=INPUT_TYPES[request.input_type],
        dimensions=request.dimensions if request.HasField("dimensions") else None,
        normalize=request.normalize if request.HasField("normalize") else True,
        truncation=TRUNCATIONS[request.truncation],
        deadline=deadline_of(context),
        field="token_inputs" if request.token_inputs else "inputs",
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
