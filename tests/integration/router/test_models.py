"""`ModelService` of the router, over the replicas of a route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.common.v1 import Capability, ModelInfo, ModelState
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import (
    CountTokensRequest,
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from inglenook.router.v1 import BackendState, ListBackendsRequest

from tests.support.backend import FakeBackend, Held, listing, serving
from tests.support.configuration import free_addresses
from tests.support.engines import SERVICE, Engine, embedding, model_section
from tests.support.polling import until
from tests.support.routing import Routed, failed, routed
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiny import write_model

READY = ModelState.MODEL_STATE_READY
AVAILABLE = ModelState.MODEL_STATE_AVAILABLE


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return write_model(tmp_path_factory.mktemp("model"))


@asynccontextmanager
async def pair(folder: Path, models: str) -> AsyncIterator[tuple[Routed, list[Engine]]]:
    """Run two embed services with the same models, and a router in front of them."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(embedding(folder, models, serves=False)) for _ in range(2)]
        endpoints = [engine.process.address for engine in engines]
        yield await stack.enter_async_context(routed(folder, {"embed": endpoints}, more=models)), engines


async def states(engines: list[Engine]) -> list[ModelState.ValueType]:
    """Return the state of the model `tiny` in each service."""
    request = GetModelRequest(model="tiny")
    return [(await engine.models.GetModel(request, timeout=LIMIT_SECONDS)).model.state for engine in engines]


async def test_a_model_is_loaded_and_unloaded_on_every_replica(tmp_path: Path, tiny_model: Path) -> None:
    """One call to the router changes all of them, although none is serving before; its health follows."""
    async with pair(tmp_path, model_section("tiny", tiny_model, "preload = false")) as (router, engines):
        assert await states(engines) == [AVAILABLE, AVAILABLE]
        loaded = await router.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert loaded.model.state == READY
        assert await states(engines) == [READY, READY]
        await until(lambda: router.serves(SERVICE))
        assert len((await router.ask(EmbedRequest(model="tiny", inputs=["a"]))).embeddings) == 1
        gone = await router.models.UnloadModel(UnloadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert gone.model.state == AVAILABLE
        assert await states(engines) == [AVAILABLE, AVAILABLE]


async def test_models_are_listed_as_replicas_describe_them(tmp_path: Path, tiny_model: Path) -> None:
    """In the order of the file, with what loading found out; one ready replica makes a model ready."""
    sleeping = model_section("asleep", tiny_model, "preload = false")
    async with pair(tmp_path, sleeping + model_section("tiny", tiny_model)) as (router, engines):
        for engine in engines:
            await until(lambda engine=engine: engine.serves(SERVICE))  # type: ignore[misc]  # bound now, not later
        await engines[0].models.UnloadModel(UnloadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        listed = await router.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
        one = await router.models.GetModel(GetModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        chat = ListModelsRequest(capability=Capability.CAPABILITY_CHAT)
        others = await router.models.ListModels(chat, timeout=LIMIT_SECONDS)
    assert [(model.name, model.state) for model in listed.models] == [("asleep", AVAILABLE), ("tiny", READY)]
    assert one.model == listed.models[1]
    assert one.model.dimensions == 32
    assert not others.models


async def test_a_model_of_which_nobody_says_anything_is_still_listed(
    tmp_path: Path, tiny_model: Path
) -> None:
    """With all replicas gone an operator sees the model, and that nobody could be asked."""
    (nobody,) = free_addresses(1)
    models = model_section("tiny", tiny_model)
    async with routed(tmp_path, {"embed": [nobody]}, more=models) as router:
        listed = await router.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
        load = await failed(router.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS))
    (model,) = listed.models
    assert (model.name, model.source) == ("tiny", f"dir:{tiny_model}")
    assert model.state == ModelState.MODEL_STATE_UNSPECIFIED
    assert "reached" in model.state_detail
    assert (load.code, load.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")


REMOTE = (
    '[models.talker]\ncapability = "chat"\ntargets = ["ollama/x", "ollama/y"]\n'
    '[models.there]\ncapability = "embed"\ntargets = ["ollama/z"]\n'
)


async def test_a_model_of_providers_of_which_nobody_says_anything_is_listed_with_its_targets(
    tmp_path: Path,
) -> None:
    """What the file says of it is known without anyone."""
    nobody, nothing = free_addresses(2)
    async with routed(tmp_path, {"chat": [nobody], "embed": [nothing]}, more=REMOTE) as router:
        listed = await router.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
        one = await router.models.GetModel(GetModelRequest(model="there"), timeout=LIMIT_SECONDS)
    assert [(model.name, list(model.targets), model.source) for model in listed.models] == [
        ("talker", ["ollama/x", "ollama/y"], ""),
        ("there", ["ollama/z"], ""),
    ]
    assert one.model == listed.models[1]


async def test_a_backend_behind_two_routes_has_its_models_listed_once(tmp_path: Path) -> None:
    """The chat service tells of what it talks and what it embeds with, and of more than the file names."""
    chat, embed = Capability.CAPABILITY_CHAT, Capability.CAPABILITY_EMBED
    models = [
        ModelInfo(name="talker", capability=chat, state=READY),
        ModelInfo(name="there", capability=embed, state=READY),
        ModelInfo(name="ollama/found", capability=chat, state=READY),
    ]
    async with serving(FakeBackend(lists=listing(*models))) as backend:
        routes = {"chat": [backend.address], "embed": [backend.address]}
        async with routed(tmp_path, routes, more=REMOTE) as router:
            listed = await router.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
            wanted = ListModelsRequest(capability=embed)
            embedding_ones = await router.models.ListModels(wanted, timeout=LIMIT_SECONDS)
    assert list(listed.models) == models
    assert list(embedding_ones.models) == [models[1]]


async def test_a_replica_that_hangs_is_left_out_within_the_callers_time(
    tmp_path: Path, tiny_model: Path
) -> None:
    """What the others say still arrives before the caller's deadline."""
    held = Held()
    async with AsyncExitStack() as stack:
        models = model_section("tiny", tiny_model)
        engine = await stack.enter_async_context(embedding(tmp_path, models))
        stuck = await stack.enter_async_context(serving(FakeBackend(lists=held.unary)))
        endpoints = [engine.process.address, stuck.address]
        router = await stack.enter_async_context(routed(tmp_path, {"embed": endpoints}, more=models))
        listed = await router.models.ListModels(ListModelsRequest(), timeout=1.0)
    assert held.arrived.is_set()
    assert [(model.name, model.state) for model in listed.models] == [("tiny", READY)]


async def test_a_failed_load_on_one_replica_fails_the_call(tmp_path: Path, tiny_model: Path) -> None:
    """A model counts as loaded when it is loaded everywhere; the replica's own explanation is relayed."""
    models = model_section("tiny", tiny_model, "preload = false")
    broken = model_section("tiny", tmp_path / "nowhere", "preload = false")
    async with AsyncExitStack() as stack:
        (tmp_path / "other").mkdir()
        fine = await stack.enter_async_context(embedding(tmp_path, models, serves=False))
        bad = await stack.enter_async_context(embedding(tmp_path / "other", broken, serves=False))
        endpoints = [fine.process.address, bad.process.address]
        router = await stack.enter_async_context(routed(tmp_path, {"embed": endpoints}, more=models))
        told = await failed(router.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
    assert "nowhere" in told.message
    assert told.trailing["inglenook-served-by"].endswith(bad.process.address.rpartition(":")[2])


async def test_tokens_are_counted_by_a_replica(tmp_path: Path, tiny_model: Path) -> None:
    """CountTokens goes to any replica; an unknown model is refused by the router itself, with the names."""
    async with pair(tmp_path, model_section("tiny", tiny_model)) as (router, engines):
        await router.until_backend(engines[0].process.address, BackendState.BACKEND_STATE_HEALTHY)
        request = CountTokensRequest(model="tiny", inputs=["the cat sits"])
        told = await router.models.CountTokens(request, timeout=LIMIT_SECONDS)
        wrong = CountTokensRequest(model="tinny", inputs=["a"])
        unknown = await failed(router.models.CountTokens(wrong, timeout=LIMIT_SECONDS))
    assert (list(told.token_counts), told.max_input_tokens, told.model) == ([5], 64, "tiny")
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert unknown.metadata == {"models": "tiny"}


async def test_a_filter_that_is_not_in_the_contract_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    """An empty list would say that nothing can do it; the caller meant something newer."""
    unknown: Any = 99
    async with pair(tmp_path, model_section("tiny", tiny_model)) as (router, engines):
        for call in (
            router.models.ListModels(ListModelsRequest(capability=unknown), timeout=LIMIT_SECONDS),
            router.router.ListBackends(ListBackendsRequest(capability=unknown), timeout=LIMIT_SECONDS),
            engines[0].models.ListModels(ListModelsRequest(capability=unknown), timeout=LIMIT_SECONDS),
        ):
            told = await failed(call)
            assert told.reason == "INVALID_REQUEST"
            assert told.violations[0][0] == "capability"
