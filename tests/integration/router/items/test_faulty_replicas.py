"""Replicas that answer with what is no answer, and replicas that are all gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.embed.v1 import EmbedRequest
from inglenook.nli.v1 import ClassifyRequest, InferRequest
from inglenook.rerank.v1 import RerankRequest
from inglenook.router.v1 import BackendState

from services.chassis.testing import read_failure
from tests.integration.router.items.test_items import MORE, TEXTS, ask, directly, pairs
from tests.support.backend import SERVICES, FakeBackend, serving
from tests.support.item_backend import Items
from tests.support.item_cluster import routed_to, serving_items
from tests.support.item_desk import same
from tests.support.polling import until
from tests.support.routing import Routed
from tests.support.stubs import LIMIT_SECONDS

CALLS = 24


def one_too_few(response: Any) -> None:
    """Leave out the last result."""
    del (response.embeddings if hasattr(response, "embeddings") else response.results)[-1]


def request_for(capability: str, number: int) -> Any:
    """Return a request that nobody has made before."""
    texts = [f"{text}{number}" for text in TEXTS]
    if capability == "embed":
        return EmbedRequest(inputs=texts)
    if capability == "rerank":
        return RerankRequest(query="q", documents=texts)
    return InferRequest(pairs=pairs(texts)) if number % 2 else ClassifyRequest(inputs=texts, labels=["x"])


@pytest.mark.parametrize("capability", ["embed", "rerank", "nli"])
async def test_no_call_fails_for_a_replica_that_answers_with_garbage(tmp_path: Path, capability: str) -> None:
    """Another one is asked, the answer is right, and the replica is left alone soon."""
    good, bad = Items(), Items(spoil=one_too_few)
    async with (
        serving_items(capability, [good, bad]) as fakes,
        routed_to(tmp_path, capability, fakes) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        for number in range(CALLS):
            request = request_for(capability, number)
            response, _ = await ask(router, request)
            assert same(response, await directly(request))
        states = {one.endpoint: one.state for one in await router.backends()}
    assert states[fakes[1].address] == BackendState.BACKEND_STATE_EJECTED
    assert states[fakes[0].address] == BackendState.BACKEND_STATE_HEALTHY
    assert bad.requests


async def test_garbage_from_every_replica_fails_the_call_and_ejects_nobody(tmp_path: Path) -> None:
    """Two are asked, no more: they may be right, and the router wrong."""
    backends = [Items(spoil=one_too_few) for _ in range(3)]
    async with (
        serving_items("embed", backends) as fakes,
        routed_to(tmp_path, "embed", fakes) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(router, EmbedRequest(inputs=TEXTS))
        assert read_failure(raised.value).reason == "INTERNAL"
        assert sum(len(one.requests) for one in backends) == 2
        healthy = BackendState.BACKEND_STATE_HEALTHY
        assert {one.state for one in await router.backends()} == {healthy}


async def all_in(router: Routed, state: int) -> None:
    """Return once the router says this of every replica."""

    async def reached() -> bool:
        return all(one.state == state for one in await router.backends())

    await until(reached)


async def again(items: Items, fake: FakeBackend, address: str) -> FakeBackend:
    """Return a backend that is as another was."""
    other = FakeBackend(lists=fake.lists)

    async def unary(content: bytes, context: Any) -> bytes:
        return await items.unary(other, content, context)

    other.unary = unary
    other.address = address
    return other


async def test_what_is_known_is_told_while_no_replica_is_there(tmp_path: Path) -> None:
    """The rest cannot be answered; once a replica of another model is there, nothing of the old one is."""
    items = Items()
    known = EmbedRequest(inputs=TEXTS)
    async with (
        serving_items("embed", [items]) as fakes,
        routed_to(tmp_path, "embed", fakes) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        await ask(router, known)
        (fake,) = fakes
        assert fake.server is not None
        await fake.say(SERVICES[1], serving=False)
        await all_in(router, BackendState.BACKEND_STATE_NOT_SERVING)
        assert (await ask(router, known))[1] == "hit"
        await fake.server.stop(0)
        await all_in(router, BackendState.BACKEND_STATE_UNREACHABLE)
        response, result = await ask(router, known)
        assert result == "hit"
        assert same(response, await directly(known))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(router, EmbedRequest(inputs=MORE))
        assert read_failure(raised.value).reason == "NO_BACKEND"
        items.fingerprint = "f2"
        async with serving(await again(items, fake, fake.address), address=fake.address):
            await all_in(router, BackendState.BACKEND_STATE_HEALTHY)
            response, result = await ask(router, known)
            assert result == "miss"
            assert not same(response, await directly(known))
