"""Calls taken apart by a real router in front of real servers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.embed.v1 import EmbedRequest, Encoding
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from services.chassis.testing import FailedCall, read_failure
from tests.support.item_backend import KINDS, RESPONSES, Items
from tests.support.item_cluster import routed_to, serving_items
from tests.support.item_desk import same
from tests.support.redis_server import redis_server
from tests.support.routing import Routed
from tests.support.stubs import LIMIT_SECONDS

TEXTS = ["a", "b", "cc"]
MORE = ["b", "new", "cc", "a", "new"]


def pairs(texts: list[str]) -> list[Pair]:
    """Return texts as pairs."""
    return [Pair(premise=text, hypothesis="h") for text in texts]


CALLS: list[tuple[str, str, Any, Any]] = [
    ("embed", "Embed", EmbedRequest(inputs=TEXTS), EmbedRequest(inputs=MORE)),
    (
        "rerank",
        "Rerank",
        RerankRequest(query="q", documents=TEXTS),
        RerankRequest(query="q", documents=MORE, top_n=3, return_documents=True),
    ),
    ("nli", "Infer", InferRequest(pairs=pairs(TEXTS)), InferRequest(pairs=pairs(MORE), raw_scores=True)),
    (
        "nli",
        "Classify",
        ClassifyRequest(inputs=TEXTS, labels=["x", "y"]),
        ClassifyRequest(inputs=MORE, labels=["y", "x"]),
    ),
]


async def ask(router: Routed, request: Any, mode: str = "on") -> tuple[Any, str]:
    """Return the response to a call, and what the cache was to it."""
    stub: Any = next(
        getattr(service, name)
        for service in (router.embed, router.rerank, router.nli)
        for name in (type(request).__name__.removesuffix("Request"),)
        if hasattr(service, name)
    )
    call = stub(request, timeout=LIMIT_SECONDS, metadata=(("inglenook-cache", mode),))
    response = await call
    return response, dict(await call.trailing_metadata())["inglenook-cache"]


async def refusal(router: Routed, request: Any, mode: str = "on") -> FailedCall:
    """Return how a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(router, request, mode)
    return read_failure(raised.value)


async def directly(request: Any) -> Any:
    """Return what a backend says by itself."""
    (method,) = (method for method, (kind, _) in KINDS.items() if isinstance(request, kind))
    return RESPONSES[method].FromString(await Items().respond(method, request.SerializeToString()))


@pytest.mark.parametrize(("capability", "method", "first", "second"), CALLS)
async def test_calls_are_answered_from_what_others_asked(
    tmp_path: Path, capability: str, method: str, first: Any, second: Any
) -> None:
    """As the backend would have, of which only what is missing is asked."""
    items = Items()
    async with (
        serving_items(capability, [items]) as fakes,
        routed_to(tmp_path, capability, fakes) as router,
    ):
        for request, expected in ((first, "miss"), (first, "hit"), (second, "partial"), (second, "hit")):
            response, result = await ask(router, request)
            assert (result, method) == (expected, method)
            assert same(response, await directly(request))
    assert set(items.computed.values()) == {1}


async def test_refusals_name_the_callers_own_inputs(tmp_path: Path) -> None:
    """With a cache or without, whatever was known, the same status with the same paths."""
    bad = EmbedRequest(inputs=["a", "b", "new", " ", "cc"])
    async with (
        serving_items("embed", [Items()]) as fakes,
        routed_to(tmp_path, "embed", fakes) as router,
    ):
        plain = await refusal(router, bad, "off")
        await ask(router, EmbedRequest(inputs=TEXTS))
        found = await refusal(router, bad)
        wrong_mode = await refusal(router, bad, "sometimes")
    assert [field for field, _ in found.violations] == ["inputs[3]"]
    assert (found.code, found.reason, found.message) == (plain.code, plain.reason, plain.message)
    assert (wrong_mode.code, wrong_mode.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [field for field, _ in wrong_mode.violations] == ["inglenook-cache"]


async def test_two_routers_share_what_they_keep_in_redis(tmp_path: Path) -> None:
    """What one of them had computed, the other answers with, and asks nobody."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    items = Items()
    with redis_server(tmp_path) as redis:
        more = f'[cache]\nurl = "{redis.url}"\ntimeout_seconds = 5.0\n'
        async with (
            serving_items("embed", [items]) as fakes,
            routed_to(first, "embed", fakes, more=more) as one,
            routed_to(second, "embed", fakes, more=more) as other,
            asyncio.timeout(LIMIT_SECONDS),
        ):
            request = EmbedRequest(inputs=TEXTS)
            assert (await ask(one, request))[1] == "miss"
            while redis.asking.dbsize() < len(TEXTS):  # noqa: ASYNC110  # written in the background
                await asyncio.sleep(0.01)
            response, result = await ask(other, request)
            assert result == "hit"
            assert same(response, await directly(request))
            assert (await ask(other, EmbedRequest(inputs=MORE)))[1] == "partial"
    assert set(items.computed.values()) == {1}


async def test_a_large_call_survives_the_death_of_a_replica_that_has_a_part_of_it(tmp_path: Path) -> None:
    """Its part is computed by another; what comes back is whole and in order."""
    arrived = asyncio.Event()

    async def hang(request: Any) -> None:
        del request
        arrived.set()
        await asyncio.Event().wait()

    backends = [Items(), Items(before=hang), Items()]
    texts = [f"text {number}" for number in range(300)]
    request = EmbedRequest(inputs=texts, encoding=Encoding.ENCODING_FLOAT32)
    async with (
        serving_items("embed", backends) as fakes,
        routed_to(tmp_path, "embed", fakes) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        answering = asyncio.create_task(ask(router, request))
        await arrived.wait()
        server = fakes[1].server
        assert server is not None
        await server.stop(0)
        response, _ = await answering
        assert same(response, await directly(request))
    asked = [len(one.inputs) for items in backends for _, one in items.requests]
    assert asked == [100] * 4
    assert len(backends[1].requests) == 1


async def test_callers_that_wait_are_answered_when_the_one_who_led_is_gone(tmp_path: Path) -> None:
    """A connection that breaks takes nobody else's answer with it."""
    arrived, released = asyncio.Event(), asyncio.Event()

    async def hold(request: Any) -> None:
        del request
        arrived.set()
        await released.wait()

    items = Items(before=hold)
    request = EmbedRequest(inputs=TEXTS)
    async with (
        serving_items("embed", [items]) as fakes,
        routed_to(tmp_path, "embed", fakes) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        leading = router.embed.Embed(request)
        await arrived.wait()
        waiting = [asyncio.create_task(ask(router, request)) for _ in range(5)]
        await asyncio.sleep(0.05)
        leading.cancel()
        released.set()
        for response, _ in await asyncio.gather(*waiting):
            assert same(response, await directly(request))
    assert len(items.requests) <= 2
