"""Keys at both doors: who is let in, who is not, and that what is refused reaches nobody."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from inglenook.model.v1 import ListModelsRequest, LoadModelRequest
from inglenook.rerank.v1 import RerankRequest
from inglenook.router.v1 import GetStatusRequest, PurgeCacheRequest, ReloadRequest
from openai import AsyncOpenAI

from services.config import hash_of, new_key
from tests.support.backend import FakeBackend, Held, serving
from tests.support.guarded import Guarded, embed, guarded, write_guarded
from tests.support.polling import until
from tests.support.routing import failed
from tests.support.stubs import LIMIT_SECONDS

GOOD, SLOW, LONELY, OPERATOR, UNKNOWN = (new_key() for _ in range(5))

KEYS = f"""
[access]
required = true
[access.keys.good]
hash = "{hash_of(GOOD)}"
allow = ["embed"]
[access.keys.slow]
hash = "{hash_of(SLOW)}"
requests_per_minute = 1
[access.keys.lonely]
hash = "{hash_of(LONELY)}"
max_concurrent_calls = 1
[access.keys.operator]
hash = "{hash_of(OPERATOR)}"
allow = ["operate"]
"""


@asynccontextmanager
async def _guarded(
    folder: Path, more: str = KEYS, backend: FakeBackend | None = None
) -> AsyncIterator[Guarded]:
    async with serving(backend or FakeBackend(unary=embed)) as fake, guarded(folder, fake, more) as router:
        await router.ready()
        yield router


def _shown(key: str) -> tuple[tuple[str, str], ...]:
    return (("x-api-key", key),)


async def _reflected(router: Guarded) -> set[str]:
    """Return the services that reflection lists."""
    channel: Any = router.channel  # typed for synchronous ones
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request])):
        return {one.name for one in answer.list_services_response.service}
    return set()


async def test_key_opens_both_doors(tmp_path: Path) -> None:
    """Over gRPC, over HTTP, and with OpenAI's own client, which sends it by itself."""
    async with _guarded(tmp_path) as router:
        assert len((await router.by_grpc(GOOD)).embeddings) == 1
        assert (await router.by_http(GOOD)).status_code == 200
        url = f"{router.http.base_url}/v1"
        async with AsyncOpenAI(base_url=url, api_key=GOOD, max_retries=0, timeout=LIMIT_SECONDS) as openai:
            assert (await openai.embeddings.create(model="m", input="hello")).data
        assert router.reached >= 1


@pytest.mark.parametrize("key", [None, UNKNOWN, GOOD[:-1]], ids=["none", "unknown", "cut"])
async def test_caller_without_a_good_key_is_refused_at_both_doors(tmp_path: Path, key: str | None) -> None:
    """With the code that its language has for it, and before the call costs anything."""
    async with _guarded(tmp_path) as router:
        refused = await failed(router.by_grpc(key))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        answer = await router.by_http(key)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert router.reached == 0


async def test_key_that_is_not_for_this_is_refused_at_both_doors(tmp_path: Path) -> None:
    """It is told what it would need."""
    async with _guarded(tmp_path) as router:
        refused = await failed(router.by_grpc(OPERATOR))
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "KEY_NOT_ALLOWED")
        assert refused.metadata == {"permission": "embed"}
        answer = await router.by_http(OPERATOR)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_not_allowed")
        request = RerankRequest(model="m", query="q", documents=["d"])
        refused = await failed(router.rerank.Rerank(request, metadata=_shown(GOOD), timeout=LIMIT_SECONDS))
        assert refused.metadata == {"permission": "rerank"}
        assert router.reached == 0


async def test_key_that_calls_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    """Both doors count the same calls."""
    async with _guarded(tmp_path) as router:
        await router.by_grpc(SLOW)
        refused = await failed(router.by_grpc(SLOW))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert refused.retry_after_seconds
        assert 50 < refused.retry_after_seconds <= 60
        answer = await router.by_http(SLOW)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 50 < int(answer.headers["retry-after"]) <= 60
        assert router.reached == 1


async def test_key_with_too_many_calls_at_once_is_refused_until_one_ends(tmp_path: Path) -> None:
    """A caller that leaves gives its place back, too."""
    held = Held()

    async def answer(content: bytes, context: Any) -> bytes:
        if not content:
            return b""  # the router asks for models
        await held.unary(content, context)
        return await embed(content, context)

    async with _guarded(tmp_path, backend=FakeBackend(unary=answer)) as router:
        call: Any = router.by_grpc(LONELY)
        await held.arrived.wait()
        refused = await failed(router.by_grpc(LONELY))
        assert (refused.reason, refused.metadata) == ("RATE_LIMITED", {"maxConcurrentCalls": "1"})
        assert (await router.by_http(LONELY)).status_code == 429
        call.cancel()
        await held.left.wait()
        held.released.set()

        async def let_in() -> bool:
            try:
                return bool(await router.by_grpc(LONELY))
            except grpc.aio.AioRpcError:
                return False

        await until(let_in)


async def test_changing_the_cluster_is_for_operators(tmp_path: Path) -> None:
    """Looking at it is for everybody who has a key."""
    async with _guarded(tmp_path) as router:
        control = [
            router.models.LoadModel(LoadModelRequest(model="m"), metadata=_shown(GOOD)),
            router.router.Reload(ReloadRequest(), metadata=_shown(GOOD)),
            router.router.PurgeCache(PurgeCacheRequest(), metadata=_shown(GOOD)),
        ]
        assert [(await failed(call)).metadata for call in control] == [{"permission": "operate"}] * 3
        await router.router.GetStatus(GetStatusRequest(), metadata=_shown(GOOD))
        await router.models.ListModels(ListModelsRequest(), metadata=_shown(GOOD))
        await router.router.PurgeCache(PurgeCacheRequest(), metadata=_shown(OPERATOR))


async def test_health_and_the_contract_need_no_key(tmp_path: Path) -> None:
    """Probes have none, and neither tells anything but that the router is up and what it speaks."""
    async with _guarded(tmp_path) as router:
        assert await router.serves("")
        listed = await _reflected(router)
        assert {"inglenook.embed.v1.EmbedService", "grpc.health.v1.Health"} <= listed
        assert (await router.http.get("/health")).status_code == 200
        assert (await router.http.get("/openapi.json")).status_code == 200
        assert (await router.http.get("/v1/models")).status_code == 401
        assert (await router.http.get("/status")).status_code == 401


async def test_method_that_does_not_exist_is_not_told_to_strangers(tmp_path: Path) -> None:
    """What is served here is for callers with a key."""
    async with _guarded(tmp_path) as router:
        call: Any = router.channel.unary_unary("/inglenook.embed.v1.EmbedService/Guess")
        assert (await failed(call(b""))).code is grpc.StatusCode.UNAUTHENTICATED
        assert (await failed(call(b"", metadata=_shown(GOOD)))).code is grpc.StatusCode.UNIMPLEMENTED


async def test_without_keys_any_key_will_do(tmp_path: Path) -> None:
    """A cluster on a laptop has none, and programs that speak OpenAI always send one."""
    async with _guarded(tmp_path, "") as router:
        assert (await router.by_http("unused")).status_code == 200
        assert (await router.by_grpc("unused")).embeddings


async def test_keys_of_a_new_file_hold_for_the_next_call(tmp_path: Path) -> None:
    """Whoever is let in stays in; whoever comes now is asked for a key."""
    async with _guarded(tmp_path, "") as router:
        await router.by_grpc(None)
        await router.application.reload(write_guarded(tmp_path, router.backend, KEYS))
        assert (await failed(router.by_grpc(None))).code is grpc.StatusCode.UNAUTHENTICATED
        assert (await router.by_grpc(GOOD)).embeddings


async def test_keys_are_in_no_log_and_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither good ones nor those that were refused, at any level."""
    caplog.set_level(logging.DEBUG)
    told = []
    async with _guarded(tmp_path) as router:
        for key in (GOOD, SLOW, SLOW, OPERATOR, UNKNOWN):
            answer = await router.by_http(key)
            told.append(answer.text + str(answer.headers))
            try:
                told.append(str(await router.by_grpc(key)))
            except grpc.aio.AioRpcError as error:
                told.append(f"{error.details()} {error.trailing_metadata()}")
    ours = "".join(str(vars(one)) for one in caplog.records if not one.name.startswith(("httpx", "httpcore")))
    assert not [key for key in (GOOD, SLOW, OPERATOR, UNKNOWN) if key in "".join(told) + ours]


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_body_of_a_caller_without_a_key_is_not_parsed(tmp_path: Path, size: int) -> None:
    """What would be refused for its JSON is refused for its key; the connection is good for another try."""
    async with _guarded(tmp_path) as router:
        nonsense: Any = {"content": b"{" * size, "headers": {"content-type": "application/json"}}
        answer = await router.http.post("/v1/embeddings", **nonsense)
        assert answer.status_code == 401
        assert "connection" not in answer.headers
        assert (await router.by_http(GOOD)).status_code == 200
