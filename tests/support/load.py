"""Callers in a closed loop, and what became of each of their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from inglenook.embed.v1 import EmbedRequest

from services.chassis.testing import FailedCall, read_failure
from tests.support.polling import until
from tests.support.stubs import OWN_CONNECTION, Stubs

Ask: TypeAlias = "Callable[[Stubs, float], grpc.aio.UnaryUnaryCall[Any, Any]]"
"""Begins a call with a deadline in seconds."""

TEXTS = ("the cat sits", "a dog runs on the mat", "green")
UNCACHED = (("inglenook-cache", "off"),)
"""Metadata of calls that a replica has to answer, and not the router from what it keeps."""
LIMIT_SECONDS = 30.0
"""For what a test waits for while callers call: far longer than it takes."""
MAX_FAILURES = 5_000
"""More than any test forgives; callers then stop, so that a cluster that is down ends the test."""


@dataclass
class History:
    """What became of the calls, in the order in which they ended.

    Attributes:
        served_by: Who answered, one entry per answered call.
        failures: How the others failed.
    """

    served_by: list[str] = field(default_factory=list)
    failures: list[FailedCall] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.served_by) + len(self.failures)

    def told(self) -> str:
        """Describe the failures, for the message of an assertion."""
        kinds = Counter((one.code.name, one.reason, one.message) for one in self.failures)
        lines = [f"{len(self.failures)} of {len(self)} calls failed"]
        return "\n".join([*lines, *(f"{count} x {kind}" for kind, count in kinds.most_common())])

    async def until_answered(self, count: int, by: str = "") -> None:
        """Wait until `count` more calls were answered by processes whose name ends in `by`."""
        start = len(self.served_by)

        async def enough() -> bool:
            return sum(name.endswith(by) for name in self.served_by[start:]) >= count

        await until(enough, LIMIT_SECONDS)

    async def until_failed(self) -> None:
        """Wait until a call has failed."""

        async def some() -> bool:
            return bool(self.failures)

        await until(some, LIMIT_SECONDS)


def embeds(texts: Sequence[str] = TEXTS, model: str = "tiny") -> Ask:
    """Return what asks for the embeddings of texts, to be computed each time."""
    request = EmbedRequest(model=model, inputs=texts)
    return lambda stubs, deadline: stubs.embed.Embed(request, timeout=deadline, metadata=UNCACHED)


@asynccontextmanager
async def calling(
    address: str,
    *,
    callers: int = 8,
    deadline: float = 10.0,
    ask: Ask | None = None,
    check: Callable[[Any], object] = lambda _: None,
) -> AsyncIterator[History]:
    """Have callers call one after another until the block ends, then let each finish its last call.

    Every call has to end within `deadline` seconds and one more; one that does not, fails the test. So does
    an answer that `check` raises for.
    """
    history, ended = History(), asyncio.Event()
    async with grpc.aio.insecure_channel(address, OWN_CONNECTION) as channel:
        stubs, begin = Stubs(channel), ask or embeds()
        work = [
            asyncio.create_task(_caller(lambda: begin(stubs, deadline), deadline, history, ended, check))
            for _ in range(callers)
        ]
        try:
            yield history
        finally:
            ended.set()
            await asyncio.gather(*work)


async def _caller(
    begin: Callable[[], grpc.aio.UnaryUnaryCall[Any, Any]],
    deadline: float,
    history: History,
    ended: asyncio.Event,
    check: Callable[[Any], object],
) -> None:
    while not ended.is_set() and len(history.failures) < MAX_FAILURES:
        try:
            async with asyncio.timeout(deadline + 1):
                call = begin()
                check(await call)
                history.served_by.append(str(dict(await call.trailing_metadata())["inglenook-served-by"]))
        except grpc.aio.AioRpcError as error:
            history.failures.append(read_failure(error))
