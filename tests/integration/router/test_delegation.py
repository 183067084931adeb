"""Calls that the router passes on: what goes with them, and what comes back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from inglenook.common.v1 import Capability
from inglenook.embed.v1 import EmbedRequest
from inglenook.router.v1 import GetStatusRequest

from services.chassis.errors import Explained
from services.chassis.status import explained_status
from services.chat.errors import UpstreamUnavailable
from tests.support.backend import SERVED_BY, Context, FakeBackend, Held, refuse, serving
from tests.support.polling import until
from tests.support.routing import Routed, failed, routed
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import tiered

EMBED = "/inglenook.embed.v1.EmbedService/Embed"
REQUEST = EmbedRequest(model="m", inputs=["a"])


async def calls_in_flight(router: Routed) -> int:
    """Return how many embed calls the router says it has passed on."""
    status = await router.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
    return next(
        one.calls_in_flight for one in status.capabilities if one.capability == Capability.CAPABILITY_EMBED
    )


async def test_requests_and_responses_pass_through_as_the_bytes_they_are(tmp_path: Path) -> None:
    """The router reads neither, so that no field of a newer contract gets lost in it."""
    content = b"\xff\xfe not a message of any contract"
    async with (
        serving(FakeBackend()) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
    ):
        assert await router.raw(EMBED)(content, timeout=LIMIT_SECONDS) == content
    assert fake.methods == [EMBED]


async def test_a_callers_deadline_goes_with_the_call(tmp_path: Path) -> None:
    """The backend sees what the caller has left, not more, and so can give up in time."""
    async with (
        serving(FakeBackend()) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
    ):
        await router.raw(EMBED)(b"", timeout=7.0)
    (remaining,) = fake.remaining
    assert remaining is not None
    assert 6.0 < remaining < 7.1  # gRPC rounds up


async def test_a_call_without_deadline_gets_the_default_one(tmp_path: Path) -> None:
    """Nobody waits for ever for a backend, whatever the caller forgot."""
    more = "[limits]\ndefault_timeout_seconds = 33.0"
    async with (
        serving(FakeBackend()) as fake,
        routed(tmp_path, {"embed": [fake.address]}, more=more) as router,
    ):
        await router.raw(EMBED)(b"")
    (remaining,) = fake.remaining
    assert remaining is not None
    assert 32.0 < remaining < 34.0  # gRPC rounds up


async def test_a_caller_that_leaves_is_gone_for_the_backend_too(tmp_path: Path) -> None:
    """Cancelling a call frees the backend, and the router's count of calls in flight goes back."""
    held = Held()
    async with (
        serving(FakeBackend(unary=held.unary)) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        call = router.raw(EMBED)(b"")
        await held.arrived.wait()
        assert await calls_in_flight(router) == 1
        call.cancel()
        await held.left.wait()

        async def idle() -> bool:
            return await calls_in_flight(router) == 0

        await until(idle)


async def test_an_answer_tells_which_backend_computed_it_and_nothing_else_of_its_metadata(
    tmp_path: Path,
) -> None:
    """`inglenook-served-by` is relayed; what else a backend puts into its trailers stays inside."""

    async def answer(content: bytes, context: Context) -> bytes:
        context.set_trailing_metadata((("inglenook-served-by", SERVED_BY), ("x-internal", "secret")))
        return content

    async with (
        serving(FakeBackend(unary=answer)) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
    ):
        call = router.raw(EMBED)(b"", timeout=LIMIT_SECONDS)
        await call
        told = dict(await call.trailing_metadata())
    assert told["inglenook-served-by"] == SERVED_BY
    assert "x-internal" not in told


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
        (grpc.StatusCode.INTERNAL, "INFERENCE_FAILED"),
        (grpc.StatusCode.INVALID_ARGUMENT, "A_REASON_OF_A_NEWER_VERSION"),
    ],
)
async def test_an_explained_error_is_relayed_as_it_stands(
    tmp_path: Path, code: grpc.StatusCode, reason: str
) -> None:
    """Code, message, details and who answered reach the caller unchanged, and the call is not repeated."""

    async def answer(content: bytes, context: Context) -> bytes:
        await refuse(context, code, reason)
        return content

    async with (
        serving(FakeBackend(unary=answer)) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
    ):
        told = await failed(router.raw(EMBED)(b"", timeout=LIMIT_SECONDS))
    assert (told.code, told.message) == (code, f"because of {reason}")
    assert (told.reason, told.domain, told.metadata) == (reason, "inglenook", {"models": "a,b"})
    assert told.trailing == {"inglenook-served-by": SERVED_BY}
    assert len(fake.methods) == 1


async def test_a_replica_that_cannot_now_is_replaced_by_one_that_can(tmp_path: Path) -> None:
    """UNAVAILABLE of one replica is retried on the other, without the caller noticing."""

    async def answer(content: bytes, context: Context) -> bytes:
        await refuse(context, grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
        return content

    async with (
        serving(FakeBackend(unary=answer)) as broken,
        serving(FakeBackend()) as fine,
        routed(tmp_path, {"embed": [broken.address, fine.address]}) as router,
    ):
        for _ in range(6):
            assert await router.raw(EMBED)(b"x", timeout=LIMIT_SECONDS) == b"x"
    assert broken.methods, "no call ever went to the broken one"
    assert len(fine.methods) == 6


async def test_when_every_attempt_fails_the_last_explanation_is_the_answer(tmp_path: Path) -> None:
    """A safe call is made `max_attempts` times and no more; then the caller learns what the backend said."""

    async def answer(content: bytes, context: Context) -> bytes:
        await refuse(context, grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        return content

    async with (
        serving(FakeBackend(unary=answer)) as fake,
        tiered(tmp_path, {"only": [fake]}, "max_attempts = 3") as router,
    ):
        told = await router.refusal(REQUEST)
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    assert len(fake.methods) == 3


@pytest.mark.parametrize(
    ("code", "expected", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, "NO_BACKEND"),
        (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE, "NO_BACKEND"),
        (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE"),
        (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_a_status_without_details_is_explained_and_its_text_stays_inside(
    tmp_path: Path, code: grpc.StatusCode, expected: grpc.StatusCode, reason: str
) -> None:
    """A backend of someone else's, or gRPC itself, says only a code; callers still get a reason."""

    async def answer(content: bytes, context: Context) -> bytes:
        await context.abort(code, "text of the other side")
        return content

    async with (
        serving(FakeBackend(unary=answer)) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
    ):
        told = await router.refusal(REQUEST)
    assert (told.code, told.reason) == (expected, reason)
    assert told.message
    assert "text of the other side" not in told.message


async def test_calls_that_a_dying_replica_held_are_made_again_however_many(tmp_path: Path) -> None:
    """Retry throttling, meant for outages, does not fail part of a crowd that one lost replica held."""
    crowd, held, arrived = 200, Held(), asyncio.Semaphore(0)

    async def hold(content: bytes, context: Context) -> bytes:
        arrived.release()
        return await held.unary(content, context)

    async with AsyncExitStack() as stack:
        dying = await stack.enter_async_context(serving(FakeBackend(unary=hold)))
        other = await stack.enter_async_context(serving(FakeBackend(unary=hold)))
        router = await stack.enter_async_context(routed(tmp_path, {"embed": [dying.address, other.address]}))
        await stack.enter_async_context(asyncio.timeout(LIMIT_SECONDS))
        calls = [router.raw(EMBED)(b"x") for _ in range(2 * crowd)]
        for _ in calls:
            await arrived.acquire()
        assert len(dying.methods) > crowd // 2
        assert dying.server is not None
        await dying.server.stop(0)
        held.released.set()
        assert [await call for call in calls] == [b"x"] * len(calls)


async def test_what_a_backend_has_given_up_on_is_not_asked_for_again(tmp_path: Path) -> None:
    """A service that has asked its providers several times says so, and the router believes it."""

    async def give_up(content: bytes, context: Context) -> bytes:
        del content
        error = UpstreamUnavailable("no target answers")
        assert isinstance(error, Explained)
        status = explained_status(error)
        await context.abort(status.code, status.message, status.trailing_metadata)
        raise AssertionError

    async with (
        serving(FakeBackend(unary=give_up)) as fake,
        routed(tmp_path, {"embed": [fake.address]}) as router,
    ):
        failure = await failed(router.embed.Embed(REQUEST, timeout=LIMIT_SECONDS))
    assert failure.reason == "UPSTREAM_UNAVAILABLE"
    assert len(fake.methods) == 1
