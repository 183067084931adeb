"""`EmbedService` over embedding models that providers run."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Timings, Truncation
from inglenook.embed.v1 import (
    Embedding as WireEmbedding,
)
from inglenook.embed.v1 import (
    EmbedRequest,
    EmbedResponse,
    EmbedServiceServicer,
    Encoding,
    InputType,
)

from services.chassis.deadline import remaining_seconds
from services.chassis.errors import InvalidRequest
from services.chassis.trailing import FINGERPRINT_KEY, add_trailing
from services.chat.answering.embedding import EmbedCall
from services.chat.errors import NotSupported
from services.chat.servicer.events import wire_usage
from services.chat.servicer.violations import Violations
from services.chat.vectors import finish
from services.chat.wiring import Current, Wiring
from services.config import Limits, RemoteEmbedModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

SLICE: Final = 32
"""Embeddings encoded between two turns of the event loop."""
UNCUT: Final = frozenset({Truncation.TRUNCATION_UNSPECIFIED, Truncation.TRUNCATION_NONE})


class EmbedServicer(EmbedServiceServicer):
    """Answers Embed with what is in force when a call begins."""

    def __init__(self, current: Current) -> None:
        self._current = current

    async def Embed(self, request: EmbedRequest, context: Context) -> EmbedResponse:
        """Embed a list of texts with one model."""
        with self._current.use() as wiring:
            return await _embed(wiring, request, context)


async def _embed(wiring: Wiring, request: EmbedRequest, context: Context) -> EmbedResponse:
    began = time.perf_counter()
    _check(request, wiring.configuration.limits)
    model = wiring.models.embed_model(request.model)
    _check_dimensions(request, model.section.dimensions)
    prompt = _prompts(model.section)[request.input_type]
    remaining = remaining_seconds(context)
    call = EmbedCall(
        targets=model.targets,
        inputs=[prompt + text for text in request.inputs],
        dimensions=model.section.dimensions,
        timeout_seconds=model.section.timeout_seconds,
        deadline=None if remaining is None else asyncio.get_running_loop().time() + remaining,
    )
    found = await wiring.embedding.embed(call)
    add_trailing(context, (FINGERPRINT_KEY, model.fingerprint))
    computed = time.perf_counter()
    return EmbedResponse(
        embeddings=await _encode(found.vectors, request),
        model=model.name,
        usage=wire_usage(found.attempt.usage),
        timings=Timings(
            total_time=_duration(time.perf_counter() - began), inference_time=_duration(computed - began)
        ),
    )


def _check(request: EmbedRequest, limits: Limits) -> None:
    """Refuse what cannot be asked for.

    Raises:
        InvalidRequest: A field is missing or wrong; all of them are named.
        NotSupported: There are token ids.
    """
    if request.token_inputs:
        problem = "only the model's own tokenizer knows what they mean; send text as inputs"
        message = f"token_inputs {problem}"
        raise NotSupported(message, violations=[("token_inputs", problem)])
    violations, most = Violations(), limits.max_client_batch_size
    violations.check_known("input_type", request.input_type, InputType.values())
    violations.check_known("encoding", request.encoding, Encoding.values())
    violations.check_known("truncation", request.truncation, Truncation.values())
    if request.truncation not in UNCUT:
        violations.add("truncation", "must be none: providers do not say how they cut")
    if not 1 <= len(request.inputs) <= most:
        violations.add("inputs", f"must hold 1 to {most} texts, not {len(request.inputs)}")
    for index, text in enumerate(request.inputs[:most]):
        if not text or text.isspace():
            violations.add(f"inputs[{index}]", "must not be empty")
        elif len(text) > limits.max_input_characters:
            violations.add(
                f"inputs[{index}]",
                f"has {len(text)} characters, {limits.max_input_characters} at most",
            )
    if request.HasField("dimensions"):
        violations.at_least("dimensions", request.dimensions)
    violations.raise_any()


def _prompts(section: RemoteEmbedModel) -> Mapping[int, str]:
    return {
        InputType.INPUT_TYPE_UNSPECIFIED: "",
        InputType.INPUT_TYPE_QUERY: section.query_prompt,
        InputType.INPUT_TYPE_DOCUMENT: section.document_prompt,
    }


async def _encode(vectors: Sequence[Sequence[float]], request: EmbedRequest) -> list[WireEmbedding]:
    """Return embeddings as messages, without holding the event loop for long.

    Raises:
        InvalidRequest: More components are asked for than there are.
    """
    _check_dimensions(request, len(vectors[0]))
    dimensions = request.dimensions if request.HasField("dimensions") else None
    normalize = request.normalize if request.HasField("normalize") else True
    packed = request.encoding == Encoding.ENCODING_FLOAT32
    embeddings: list[WireEmbedding] = []
    for index, vector in enumerate(vectors, start=1):
        values = finish(vector, dimensions, normalize=normalize)
        if packed:
            embeddings.append(WireEmbedding(packed=struct.pack(f"<{len(values)}f", *values)))
        else:
            embeddings.append(WireEmbedding(values=values))
        if index % SLICE == 0:
            await asyncio.sleep(0)
    return embeddings


def _check_dimensions(request: EmbedRequest, most: int | None) -> None:
    """Refuse to keep more components than there are; before anybody is asked, if that is known then.

    Raises:
        InvalidRequest: More are asked for.
    """
    if most is not None and request.HasField("dimensions") and request.dimensions > most:
        raise InvalidRequest([("dimensions", f"must be at most {most}, the model's own")])


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
