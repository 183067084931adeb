"""What callers notice when processes stop, die or freeze, over real processes and signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from inglenook.embed.v1 import EmbedRequest
from inglenook.router.v1 import BackendState, GetStatusRequest

from tests.support.load import calling
from tests.support.polling import until
from tests.support.stage import IMPATIENT, Stage, port, staged
from tests.support.stubs import LIMIT_SECONDS

REQUEST = EmbedRequest(model="tiny", inputs=["the cat sits"])


@pytest.fixture
async def stage(tmp_path: Path, tiny_model: Path) -> AsyncIterator[Stage]:
    """Run a router and two embed replicas for one test, so that no test sees what another one broke."""
    async with staged(tmp_path, tiny_model, replicas=2, more=IMPATIENT) as stage:
        yield stage


async def test_no_call_is_lost_when_replicas_are_restarted_one_after_the_other(stage: Stage) -> None:
    """Ten SIGTERMs under load, each to the replica that was not stopped last, fail no call at all."""
    async with calling(stage.address) as history:
        await history.until_answered(50)
        for _ in range(10):
            leaving = stage.replicas[0]  # a restarted one is last
            assert await stage.end(leaving, signal.SIGTERM) == 0
            stage.restart(leaving)
            await history.until_answered(1, by=port(leaving.listen))
    assert not history.failures, history.told()


async def test_a_killed_replica_costs_no_call_that_has_time_left(stage: Stage) -> None:
    """SIGKILL under load fails no call with a deadline of seconds: lost calls are made again elsewhere."""
    async with calling(stage.address, callers=16) as history:
        for _ in range(3):
            await history.until_answered(50)
            killed = stage.replicas[0]
            await stage.end(killed, signal.SIGKILL)
            await history.until_answered(50)
            stage.restart(killed)
            await history.until_answered(1, by=port(killed.listen))
    assert not history.failures, history.told()


async def test_a_crowd_of_calls_survives_the_loss_of_the_replica_that_had_half_of_them(stage: Stage) -> None:
    """Retries are not throttled away when one replica takes hundreds of calls with it."""
    async with calling(stage.address, callers=400, deadline=20) as history:
        await history.until_answered(500)
        await stage.end(stage.replicas[0], signal.SIGKILL)
        await history.until_answered(500)
    assert not history.failures, history.told()


async def test_a_frozen_replica_is_found_out_and_comes_back(stage: Stage) -> None:
    """SIGSTOP costs patient callers nothing and impatient ones a bounded number of calls.

    No call outlives its deadline; the router says UNREACHABLE; after SIGCONT the replica gets calls again.
    """
    frozen = stage.replicas[0]
    async with (
        calling(stage.address, callers=4, deadline=15) as patient,
        calling(stage.address, callers=4, deadline=0.5) as impatient,
    ):
        await patient.until_answered(20)
        frozen.signal(signal.SIGSTOP)
        backend = await stage.until_backend(frozen.listen, BackendState.BACKEND_STATE_UNREACHABLE)
        await patient.until_answered(20)
        failed = len(impatient.failures)
        await impatient.until_answered(100)
        assert len(impatient.failures) <= failed + 4, "still sent to the frozen replica"
        frozen.signal(signal.SIGCONT)
        await stage.until_backend(frozen.listen, BackendState.BACKEND_STATE_HEALTHY)
        await patient.until_answered(1, by=port(frozen.listen))
    assert backend.state_detail
    assert not patient.failures, patient.told()
    assert len(impatient.failures) <= 4 * 6, impatient.told()
    assert {one.code for one in impatient.failures} <= {grpc.StatusCode.DEADLINE_EXCEEDED}, impatient.told()


async def test_without_any_replica_calls_fail_at_once_and_work_again_when_one_is_back(stage: Stage) -> None:
    """A call fails with NO_BACKEND instead of hanging, even if it has no deadline; recovery needs no help."""
    gone = stage.replicas
    for replica in gone:
        await stage.end(replica, signal.SIGKILL)
    for replica in gone:
        await stage.until_backend(replica.listen, BackendState.BACKEND_STATE_UNREACHABLE)
    async with asyncio.timeout(LIMIT_SECONDS):
        failed = await stage.refusal(REQUEST, seconds=None)
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
    assert failed.metadata["capability"] == "embed"
    assert all(replica.listen in failed.message for replica in gone)
    status = await stage.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
    assert not any(one.available for one in status.capabilities)

    back = stage.restart(gone[0])
    await stage.until_backend(back.listen, BackendState.BACKEND_STATE_HEALTHY)
    async with calling(stage.address, callers=1) as history:
        await history.until_answered(1, by=port(back.listen))


async def test_calls_made_while_the_last_replica_dies_end_with_a_status(stage: Stage) -> None:
    """Between the death of the last replica and the router's knowing it, no call hangs or is misexplained."""
    async with calling(stage.address, deadline=15) as history:
        await history.until_answered(20)
        for replica in stage.replicas:
            replica.signal(signal.SIGKILL)
        await history.until_failed()
    assert {(one.code, one.reason) for one in history.failures} == {
        (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
    }, history.told()


async def test_a_router_that_stops_finishes_the_calls_that_it_has(stage: Stage) -> None:
    """SIGTERM of the router while calls are in it: all of them are answered, and it ends with exit code 0."""
    router, count = stage.child("router", stage.address), 20
    for replica in stage.replicas:
        replica.signal(signal.SIGSTOP)  # so that the calls are in flight for as long as the test needs
    calls = [asyncio.create_task(stage.ask(REQUEST)) for _ in range(count)]

    async def all_in_flight() -> bool:
        status = await stage.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
        return sum(one.calls_in_flight for one in status.capabilities) == count

    await until(all_in_flight)
    ending = asyncio.create_task(stage.end(router, signal.SIGTERM))
    for replica in stage.replicas:
        replica.signal(signal.SIGCONT)
    answers = await asyncio.gather(*calls)
    assert all(len(answer.embeddings) == 1 for answer in answers)
    assert await ending == 0
