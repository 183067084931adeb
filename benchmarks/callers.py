"""Callers of several embedding models at once, who know what they should be answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import grpc
import numpy as np
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest, EmbedServiceStub, Encoding
from inglenook.model.v1 import LoadModelRequest, ModelServiceStub, UnloadModelRequest
from numpy.typing import NDArray

TOLERANCE: Final = 1e-4
"""How far a component of a vector of length 1 may be from what the plain graph computes."""

TIMEOUT_SECONDS: Final = 60
NO_RETRIES: Final = [("grpc.enable_retries", 0)]

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Known:
    """Texts, and the vectors that each model has for them.

    Attributes:
        texts: The texts.
        vectors: [texts, width] by model, of length 1.
    """

    texts: Sequence[str]
    vectors: Mapping[str, Vectors]


@dataclass(slots=True)
class Calls:
    """What the callers of one model saw.

    Attributes:
        right: Answers that are the model's.
        wrong: Answers that are not.
        failures: Status codes of calls that failed.
        seconds: How long each answered call took.
    """

    right: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def made(self) -> int:
        """How many calls were made."""
        return self.right + self.wrong + len(self.failures)


@dataclass(slots=True)
class Moves:
    """What an operator did.

    Attributes:
        loads: Loads that were asked for and done.
        unloads: Unloads likewise.
        load_seconds: How long each load took, waiting callers' share in it included.
        refused: Unloads that met a model on its way in.
    """

    loads: int = 0
    unloads: int = 0
    load_seconds: list[float] = field(default_factory=list)
    refused: int = 0


class Callers:
    """Callers in a closed loop, one text to a call, `each` to a model.

    Args:
        channel: A connection to the router.
        known: What they send and expect.
        each: How many call each model.
    """

    def __init__(self, channel: grpc.aio.Channel, known: Known, each: int) -> None:
        self._embed = EmbedServiceStub(channel)
        self._models = ModelServiceStub(channel)
        self._known = known
        self._each = each

    async def call(self, models: Sequence[str], seconds: float) -> dict[str, Calls]:
        """Call `models` for so long; return what was seen of each. Every call is waited for."""
        calls = {model: Calls() for model in models}
        until = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            for model in models:
                places = count()
                for _ in range(self._each):
                    group.create_task(self._caller(model, places, until, calls[model]))
        return calls

    async def move(self, model: str, seconds: float) -> Moves:
        """Unload and load a model in turns for so long; it is loaded at the end."""
        moves = Moves()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            try:
                await self._models.UnloadModel(UnloadModelRequest(model=model), timeout=TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                moves.refused += 1
            else:
                moves.unloads += 1
            moves.load_seconds.append(await self.load(model))
            moves.loads += 1
        return moves

    async def load(self, model: str) -> float:
        """Load a model; return how many seconds that took."""
        began = time.perf_counter()
        await self._models.LoadModel(LoadModelRequest(model=model), timeout=TIMEOUT_SECONDS)
        return time.perf_counter() - began

    async def _caller(self, model: str, places: count[int], until: float, calls: Calls) -> None:
        known = self._known.vectors[model]
        while time.perf_counter() < until:
            place = next(places) % len(known)
            request = EmbedRequest(
                model=model,
                inputs=[self._known.texts[place]],
                encoding=Encoding.ENCODING_FLOAT32,
                truncation=Truncation.TRUNCATION_RIGHT,
            )
            began = time.perf_counter()
            try:
                answer = await self._embed.Embed(request, timeout=TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                calls.failures.append(error.code().name)
                await asyncio.sleep(0.01)  # a service that refuses at once must not be called a million times
                continue
            calls.seconds.append(time.perf_counter() - began)
            if _is_near(answer.embeddings[0].packed, known[place]):
                calls.right += 1
            else:
                calls.wrong += 1


def _is_near(packed: bytes, known: Vectors) -> bool:
    vector = np.frombuffer(packed, dtype="<f4")
    return vector.shape == known.shape and bool(np.abs(vector - known).max() <= TOLERANCE)
