"""A second replica is asked when the first is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from services.chassis.errors import Relayed
from services.router.routing.measures import ENOUGH_CALLS
from services.router.routing.route import Route
from tests.support.backend import Context, FakeBackend, Held, refuse, serving
from tests.support.polling import until
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import COMPLETE, Noted, asking, opened, write_tiers

HEDGED = "hedge_percentile = 90"


@asynccontextmanager
async def warmed(
    folder: Path,
    one: FakeBackend,
    other: FakeBackend,
    noted: Noted,
    *,
    calls: int = ENOUGH_CALLS,
    more: str = "",
) -> AsyncIterator[Route]:
    """Open a route over two replicas that has seen some fast calls."""
    async with (
        serving(one),
        serving(other),
        opened(write_tiers(folder, {"only": [one, other]}, HEDGED, more=more), observer=noted) as route,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        for _ in range(calls):
            await route.unary(asking(b"x"))
        for fake in (one, other):
            fake.methods.clear()
        yield route


async def test_the_second_replica_answers_and_the_first_is_told_to_stop(tmp_path: Path) -> None:
    """The caller waits no longer than usual for a replica that hangs, and nobody works for nobody."""
    one, other, noted, held = FakeBackend(), FakeBackend(), Noted(), Held()
    async with warmed(tmp_path, one, other, noted) as route:
        one.unary = held.unary
        answers = [await route.unary(asking(b"x")) for _ in range(2)]
        await held.left.wait()
        latencies = {endpoint.address: endpoint.latencies.percentile(99) for endpoint in route.endpoints}
    assert [answer.endpoint for answer in answers] == [other.address] * 2
    assert noted.hedges["won"] == 1
    assert noted.attempts["only", "CANCELLED"] >= 1
    assert latencies[one.address] > 0


async def test_the_first_replica_may_still_be_faster(tmp_path: Path) -> None:
    """Then the second is told to stop, and its work was for nothing."""
    one, other, noted, slow, slower = FakeBackend(), FakeBackend(), Noted(), Held(), Held()
    async with warmed(tmp_path, one, other, noted) as route:
        turns = [slow, slower]

        async def in_turn(content: bytes, context: Context) -> bytes:
            return await turns.pop(0).unary(content, context)

        one.unary = other.unary = in_turn
        call = asyncio.create_task(route.unary(asking(b"x")))
        await slower.arrived.wait()
        slow.released.set()
        await call
        await slower.left.wait()
    assert noted.hedges == {"lost": 1}
    assert (len(one.methods), len(other.methods)) == (1, 1)


async def test_a_hedge_that_fails_leaves_the_call_to_the_first(tmp_path: Path) -> None:
    """Two replicas were asked; one of them answers, and that is enough."""
    one, other, noted, held = FakeBackend(), FakeBackend(), Noted(), Held()

    async def full(content: bytes, context: Context) -> bytes:
        await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        return content

    async with warmed(tmp_path, one, other, noted) as route:
        one.unary, other.unary = held.unary, full
        calls = [asyncio.create_task(route.unary(asking(b"x"))) for _ in range(2)]

        async def both_refused() -> bool:
            return noted.attempts["only", "QUEUE_FULL"] == 2

        await until(both_refused)
        held.released.set()
        assert {(await call).endpoint for call in calls} == {one.address}
    assert noted.hedges


async def test_when_both_fail_the_caller_learns_what_was_said(tmp_path: Path) -> None:
    """A final word of one ends the other."""
    one, other, noted, held = FakeBackend(), FakeBackend(), Noted(), Held()

    async def wrong(content: bytes, context: Context) -> bytes:
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        return content

    async with warmed(tmp_path, one, other, noted) as route:
        one.unary, other.unary = held.unary, wrong
        for _ in range(2):
            with pytest.raises(Relayed, match="INVALID_REQUEST"):
                await route.unary(asking(b"x"))
        await held.left.wait()
    assert set(noted.hedges) == {"failed"}


async def test_nothing_is_hedged_before_it_is_known_what_is_usual(tmp_path: Path) -> None:
    """Nor is a call that changes something, ever."""
    one, other, noted, held = FakeBackend(), FakeBackend(), Noted(), Held()
    async with warmed(tmp_path, one, other, noted, calls=ENOUGH_CALLS - 2) as route:
        one.unary = other.unary = held.unary
        call = asyncio.create_task(route.unary(asking(b"x")))
        await asyncio.sleep(0.1)
        held.released.set()
        await call
        for _ in range(ENOUGH_CALLS):
            await route.unary(asking(b"x", method=COMPLETE))
        held.released.clear()
        one.methods.clear()
        other.methods.clear()
        changing = asyncio.create_task(route.unary(asking(b"x", method=COMPLETE)))
        await asyncio.sleep(0.1)
        assert len(one.methods) + len(other.methods) == 1
        held.released.set()
        await changing
    assert not noted.hedges


async def test_a_caller_who_leaves_ends_both(tmp_path: Path) -> None:
    """No replica goes on working for nobody."""
    one, other, noted = FakeBackend(), FakeBackend(), Noted()
    first, second = Held(), Held()
    async with warmed(tmp_path, one, other, noted) as route:
        one.unary, other.unary = first.unary, second.unary
        call = asyncio.create_task(route.unary(asking(b"x")))
        await first.arrived.wait()
        await second.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await first.left.wait()
        await second.left.wait()
        assert all(endpoint.calls_in_flight == 0 for endpoint in route.endpoints)


async def test_a_caller_who_leaves_after_a_probe_has_failed_leaves_it_to_another(tmp_path: Path) -> None:
    """Else the replica would be tried by nobody ever again, and stay out for good."""
    one, other, noted, probed, held = FakeBackend(), FakeBackend(), Noted(), Held(), Held()

    async def unready(content: bytes, context: Context) -> bytes:
        await probed.unary(content, context)
        await refuse(context, grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        return content

    ejecting = "[channels]\nejection_failures = 1\nejection_seconds = 0.1\nmax_ejection_seconds = 0.1"
    async with warmed(tmp_path, one, other, noted, more=ejecting) as route:
        ejection = next(replica for replica in route.endpoints if replica.address == one.address).ejection
        ejection.begin().failed()
        await until(_says(lambda: ejection.wants_probe))
        one.unary, other.unary = unready, held.unary
        call = asyncio.create_task(route.unary(asking(b"x")))
        await held.arrived.wait()
        assert not ejection.wants_probe
        probed.released.set()
        await until(_says(lambda: noted.attempts["only", "NOT_READY"] == 1))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ejection.wants_probe


def _says(told: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return told()

    return look
