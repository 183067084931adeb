"""Replicas of one backend that fail, over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from services.chassis.errors import Relayed
from services.router.errors import NoBackend
from services.router.routing.endpoint import EndpointState
from tests.support.backend import SERVICES, Answer, Context, FakeBackend, Held, refuse, serving
from tests.support.configuration import free_addresses
from tests.support.polling import until
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import COMPLETE, EMBED, Noted, asking, opened, until_state, write_tiers

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EAGER = "[channels]\nejection_failures = 3\nejection_seconds = 0.2\n"


def refusing(reason: str, code: grpc.StatusCode = UNAVAILABLE, times: float = float("inf")) -> Answer:
    """Return what refuses the first calls for a reason, and echoes the others."""
    calls = 0

    async def answer(content: bytes, context: Context) -> bytes:
        nonlocal calls
        calls += 1
        if calls <= times:
            await refuse(context, code, reason)
        return content

    return answer


def breaking(fails: Callable[[int], bool]) -> Answer:
    """Return what drops those calls, by their number from 1, that `fails` is true for."""
    calls = 0

    async def answer(content: bytes, context: Context) -> bytes:
        nonlocal calls
        calls += 1
        if fails(calls):
            await context.abort(UNAVAILABLE)
        return content

    return answer


async def test_a_call_is_made_again_at_the_only_replica_until_it_answers(tmp_path: Path) -> None:
    """A replica that is not ready for a moment costs its callers a few milliseconds and nothing else."""
    async with (
        serving(FakeBackend(unary=refusing("NOT_READY", times=2))) as fake,
        opened(write_tiers(tmp_path, {"only": [fake]})) as route,
    ):
        assert (await route.unary(asking(b"x"))).content == b"x"
    assert len(fake.methods) == 3


async def test_large_requests_are_made_again_like_small_ones(tmp_path: Path) -> None:
    """There is no buffer that they could be too large for."""
    content = b"x" * 8_000_000
    options = [("grpc.max_receive_message_length", -1)]
    async with (
        serving(FakeBackend(unary=refusing("NOT_READY", times=2)), options=options) as fake,
        opened(write_tiers(tmp_path, {"only": [fake]})) as route,
    ):
        assert (await route.unary(asking(content))).content == content
    assert len(fake.methods) == 3


@pytest.mark.parametrize("reason", ["QUEUE_FULL", "MODEL_FAILED", "INFERENCE_FAILED"])
async def test_a_replica_that_would_say_the_same_again_is_asked_once(tmp_path: Path, reason: str) -> None:
    """A pause of milliseconds mends no model and empties no queue."""
    async with (
        serving(FakeBackend(unary=refusing(reason))) as fake,
        opened(write_tiers(tmp_path, {"only": [fake]})) as route,
    ):
        with pytest.raises(Relayed, match=reason):
            await route.unary(asking())
    assert len(fake.methods) == 1


@pytest.mark.parametrize(("reason", "asked"), [("INFERENCE_FAILED", 2), ("INTERNAL", 2), ("QUEUE_FULL", 3)])
async def test_a_bad_request_breaks_two_replicas_at_most(tmp_path: Path, reason: str, asked: int) -> None:
    """What may be the request's own fault is tried once more and no further; and nobody is ejected for it."""
    async with AsyncExitStack() as stack:
        fakes = [
            await stack.enter_async_context(serving(FakeBackend(unary=refusing(reason)))) for _ in range(3)
        ]
        noted = Noted()
        file = write_tiers(tmp_path, {"only": fakes}, more=EAGER)
        route = await stack.enter_async_context(opened(file, observer=noted))
        for _ in range(6):
            with pytest.raises(Relayed, match=reason):
                await route.unary(asking())
    assert sum(len(fake.methods) for fake in fakes) == 6 * asked
    assert not noted.ejections


async def test_a_call_that_changes_something_is_made_again_only_if_it_was_not_handled(tmp_path: Path) -> None:
    """`Complete` costs something: refused at the door it moves on, lost on the way it does not."""
    async with AsyncExitStack() as stack:
        full = await stack.enter_async_context(serving(FakeBackend(unary=refusing("QUEUE_FULL"))))
        fine = await stack.enter_async_context(serving(FakeBackend()))
        (nobody,) = free_addresses(1)
        file = write_tiers(tmp_path, {"only": [full, fine, nobody]}, capability="chat")
        route = await stack.enter_async_context(opened(file, "chat"))
        for _ in range(4):
            assert (await route.unary(asking(b"x", method=COMPLETE))).content == b"x"
        assert full.methods
        fine.unary = breaking(lambda _: True)
        before = len(fine.methods)
        full.unary = refusing("QUEUE_FULL")
        with pytest.raises((NoBackend, Relayed)):
            await route.unary(asking(b"x", method=COMPLETE))
    assert len(fine.methods) == before + 1


async def test_a_call_that_changes_something_is_not_lost_with_a_server_that_is_gone(tmp_path: Path) -> None:
    """A connection that cannot be made has carried nothing, whatever the watch on it still believes."""
    async with AsyncExitStack() as stack:
        going = await stack.enter_async_context(serving(FakeBackend()))
        fine = await stack.enter_async_context(serving(FakeBackend()))
        file = write_tiers(tmp_path, {"only": [going, fine]}, capability="chat")
        route = await stack.enter_async_context(opened(file, "chat"))
        assert going.server is not None
        await going.server.stop(0)
        await asyncio.sleep(0)
        for _ in range(4):
            assert (await route.unary(asking(b"x", method=COMPLETE))).content == b"x"
    assert len(fine.methods) == 4


@pytest.mark.parametrize("method", [EMBED, COMPLETE])
async def test_a_call_moves_on_from_a_connection_that_is_being_given_up(tmp_path: Path, method: str) -> None:
    """Its name may stand for another address now, or its certificates may have been replaced."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(serving(FakeBackend())) for _ in range(2)]
        noted = Noted()
        file = write_tiers(tmp_path, {"first": fakes[:1], "second": fakes[1:]}, capability="chat")
        route = await stack.enter_async_context(opened(file, "chat", noted))
        await route.endpoints[0].channel.close()
        assert (await route.unary(asking(b"x", method=method))).backend == "second"
    assert noted.attempts == {("first", "NO_BACKEND"): 1, ("second", "OK"): 1}


async def test_a_replica_whose_calls_fail_is_ejected_and_comes_back(tmp_path: Path) -> None:
    """Ejected it gets no calls; then single ones, until one of them is answered."""
    well = asyncio.Event()
    broken_answer = breaking(lambda _: not well.is_set())
    async with (
        serving(FakeBackend(unary=broken_answer)) as broken,
        serving(FakeBackend()) as fine,
        opened(
            write_tiers(tmp_path, {"only": [broken, fine]}, more=EAGER), observer=(noted := Noted())
        ) as route,
    ):
        for _ in range(20):
            assert (await route.unary(asking(b"x"))).content == b"x"
        assert len(broken.methods) in {3, 4}
        status = await until_state(route, broken, EndpointState.EJECTED)
        assert "3 calls in a row failed" in status.detail
        assert (route.healthy, route.available) == (1, True)
        await until_state(route, broken, EndpointState.PROBING)
        for _ in range(10):
            await route.unary(asking(b"x"))
        assert len(broken.methods) <= 5, "more than one call was a probe"
        well.set()

        async def answers() -> bool:
            return (await route.unary(asking(b"x"))).endpoint == broken.address

        await until(answers)
        assert (await until_state(route, broken, EndpointState.HEALTHY)).detail == ""
    assert noted.ejections[broken.address] >= 2
    assert not noted.ejections[fine.address]


async def test_at_most_half_of_the_replicas_are_ejected(tmp_path: Path) -> None:
    """When most of them fail, taking them all out would only bury the last one."""
    async with AsyncExitStack() as stack:
        fakes = [
            await stack.enter_async_context(serving(FakeBackend(unary=breaking(lambda _: True))))
            for _ in range(3)
        ]
        fakes.append(await stack.enter_async_context(serving(FakeBackend())))
        more = "[channels]\nejection_failures = 2\nejection_seconds = 60\n"
        noted = Noted()
        file = write_tiers(tmp_path, {"only": fakes}, more=more)
        route = await stack.enter_async_context(opened(file, observer=noted))
        for _ in range(30):
            assert (await route.unary(asking(b"x"))).content == b"x"
        assert route.healthy == 2
    assert sum(noted.ejections.values()) == 2
    assert not noted.ejections[fakes[3].address]


async def test_among_a_slow_a_failing_and_a_good_replica_every_call_is_answered(tmp_path: Path) -> None:
    """The one that fails half of its calls is found out by their share, and the slow one is not blamed."""

    async def slow(content: bytes, context: Context) -> bytes:
        del context
        await asyncio.sleep(0.02)
        return content

    more = (
        "[channels]\nejection_failures = 1000\nejection_min_calls = 10\nejection_share = 0.4\n"
        "ejection_seconds = 60\n"
    )
    async with (
        serving(FakeBackend(unary=slow)) as tardy,
        serving(FakeBackend(unary=breaking(lambda call: call % 2 == 0))) as flaky,
        serving(FakeBackend()) as fine,
        opened(write_tiers(tmp_path, {"only": [tardy, flaky, fine]}, more=more)) as route,
    ):
        for _ in range(12):
            answers = await asyncio.gather(*(route.unary(asking(b"x")) for _ in range(10)))
            assert [answer.content for answer in answers] == [b"x"] * 10
        states = {endpoint.address: endpoint.status.state for endpoint in route.endpoints}
    assert states == {
        tardy.address: EndpointState.HEALTHY,
        flaky.address: EndpointState.EJECTED,
        fine.address: EndpointState.HEALTHY,
    }
    assert len(flaky.methods) < len(tardy.methods)


async def test_callers_at_fault_do_not_take_replicas_away_from_others(tmp_path: Path) -> None:
    """Wrong calls fail on every replica alike, and each is made once."""
    wrong = refusing("INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT)
    async with (
        serving(FakeBackend(unary=wrong)) as one,
        serving(FakeBackend(unary=wrong)) as other,
        opened(write_tiers(tmp_path, {"only": [one, other]}, more=EAGER)) as route,
    ):
        for _ in range(40):
            with pytest.raises(Relayed):
                await route.unary(asking())
        assert route.healthy == 2
    assert (len(one.methods), len(other.methods)) == (20, 20)


async def test_a_replica_that_is_not_serving_gets_no_calls(tmp_path: Path) -> None:
    """It listens before its model is loaded; health, not the connection, says when it is ready."""
    async with (
        serving(FakeBackend(), healthy=()) as loading,
        serving(FakeBackend()) as fine,
        opened(write_tiers(tmp_path, {"only": [loading, fine]})) as route,
    ):
        for service in SERVICES:
            await loading.say(service, serving=False)
        for _ in range(20):
            await route.unary(asking(b"x"))
    assert (len(loading.methods), len(fine.methods)) == (0, 20)


async def test_an_attempt_that_takes_too_long_moves_on_and_one_without_alternative_waits(
    tmp_path: Path,
) -> None:
    """`attempt_timeout_seconds` is for asking somebody else, not for failing calls."""
    held = Held()
    settings = "attempt_timeout_seconds = 0.15"
    async with (
        serving(FakeBackend(unary=held.unary)) as stuck,
        serving(FakeBackend()) as fine,
        opened(write_tiers(tmp_path, {"only": [stuck, fine]}, settings)) as route,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        for _ in range(4):
            assert (await route.unary(asking(b"x"))).endpoint == fine.address
        assert held.arrived.is_set()
        await held.left.wait()
        await fine.say(SERVICES[1], serving=False)
        await until_state(route, fine, EndpointState.NOT_SERVING)
        waiting = asyncio.create_task(route.unary(asking(b"x")))
        await asyncio.sleep(0.3)
        held.released.set()
        assert (await waiting).endpoint == stuck.address


async def test_calls_made_together_go_to_different_replicas(tmp_path: Path) -> None:
    """A large call that is cut into as many pieces as there are replicas is computed by all of them."""
    held = Held()
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(serving(FakeBackend(unary=held.unary))) for _ in range(3)]
        route = await stack.enter_async_context(opened(write_tiers(tmp_path, {"only": fakes})))
        assert route.width == 3
        calls = [asyncio.create_task(route.unary(asking(b"x"))) for _ in range(route.width)]

        async def everywhere() -> bool:
            return all(len(fake.methods) == 1 for fake in fakes)

        await until(everywhere)
        held.released.set()
        await asyncio.gather(*calls)


async def test_every_call_ends_once_while_replicas_come_and_go(tmp_path: Path) -> None:
    """Two hundred calls, three replicas of which two are stopped and started under them: none is lost."""
    addresses = free_addresses(3)

    async def brief(content: bytes, context: Context) -> bytes:
        del context
        await asyncio.sleep(0.01)
        return content

    async def flap(address: str, times: int) -> None:
        for _ in range(times):
            async with serving(FakeBackend(unary=brief), address=address):
                await asyncio.sleep(0.15)
            await asyncio.sleep(0.05)

    async def caller(number: int) -> list[bytes]:
        return [(await route.unary(asking(b"%d" % number))).content for _ in range(5)]

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(FakeBackend(unary=brief), address=addresses[0]))
        file = write_tiers(tmp_path, {"only": addresses}, "max_attempts = 8")
        route = await stack.enter_async_context(opened(file))
        async with asyncio.TaskGroup() as group:
            for address in addresses[1:]:
                group.create_task(flap(address, 4))
            callers = [group.create_task(caller(number)) for number in range(200)]
        assert [one.result() for one in callers] == [[b"%d" % number] * 5 for number in range(200)]
        assert route.calls_in_flight == 0
        assert all(endpoint.calls_in_flight == 0 for endpoint in route.endpoints)
