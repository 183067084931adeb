"""Models that are loaded and let go in real processes, as callers and operators see it through the router."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
from inglenook.common.v1 import Capability, ModelState
from inglenook.embed.v1 import EmbedRequest, EmbedResponse
from inglenook.model.v1 import (
    CountTokensRequest,
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from inglenook.nli.v1 import InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from services.chassis.testing import read_failure
from tests.support.configuration import describe_model, write_cluster
from tests.support.load import UNCACHED, calling, embeds
from tests.support.polling import until
from tests.support.routing import failed
from tests.support.scraping import total_at
from tests.support.stage import Stage, port, staged_from
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs
from tests.support.tiny import Shape, write_model

TEXT: Final = "the cat sits on the mat"
ROUNDS: Final = 8
"""How often a model is taken out and put back."""
CALLERS: Final = 6
CLOSE: Final = 1e-5
"""How far the same answer may lie from itself, by what it shared a batch with."""

SLOW: Final = Shape(hidden_size=320, intermediate_size=1280, num_hidden_layers=4)
"""Takes long enough to load that something can happen meanwhile."""

CAPABILITIES: Final = {
    "judge": Capability.CAPABILITY_NLI,
    "small": Capability.CAPABILITY_EMBED,
    "cross": Capability.CAPABILITY_RERANK,
    "other": Capability.CAPABILITY_EMBED,
    "bi": Capability.CAPABILITY_RERANK,
}
"""The models of the whole cluster, in the order of its file."""

ONE_ATTEMPT: Final = "max_attempts = 1"
"""Let the router make no call twice by itself, so that callers see every refusal."""


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> AsyncIterator[Stage]:
    """Run two embed replicas.

    The model `brief` goes when nobody has called it for a moment; `slow` is loaded when it is called.
    """
    folder = tmp_path_factory.mktemp("pair")
    models = describe_model("embed", "tiny", tiny_model)
    models += describe_model("embed", "brief", write_model(folder / "brief"), "idle_unload_seconds = 0.2")
    slow = write_model(folder / "slow", shape=SLOW)
    models += describe_model("embed", "slow", slow, "preload = false")
    async with staged_from(write_cluster(folder, models, {"embed": 2})) as stage:
        await stage.until_all_are_known()
        yield stage


async def state(stubs: Stubs, model: str) -> ModelState.ValueType:
    """Return where a model is in its life."""
    return (await stubs.models.GetModel(GetModelRequest(model=model), timeout=LIMIT_SECONDS)).model.state


async def load(stubs: Stubs, model: str) -> Any:
    """Load a model and return what is said of it."""
    return (await stubs.models.LoadModel(LoadModelRequest(model=model), timeout=LIMIT_SECONDS)).model


async def unload(stubs: Stubs, model: str) -> Any:
    """Take a model out and return what is said of it."""
    return (await stubs.models.UnloadModel(UnloadModelRequest(model=model), timeout=LIMIT_SECONDS)).model


def same_as(expected: EmbedResponse) -> Callable[[EmbedResponse], None]:
    """Return what checks that an answer is this one."""
    vectors = [list(one.values) for one in expected.embeddings]

    def check(response: EmbedResponse) -> None:
        found = [list(one.values) for one in response.embeddings]
        np.testing.assert_allclose(found, vectors, rtol=0, atol=CLOSE)

    return check


async def test_models_of_all_capabilities_are_listed_in_the_order_of_the_file(whole_cluster: Stage) -> None:
    """One list for the whole cluster, whichever service has a model, and one for each capability."""
    listed = (await whole_cluster.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)).models
    assert {one.name: one.capability for one in listed} == CAPABILITIES
    assert [one.name for one in listed] == list(CAPABILITIES)
    for wanted in CAPABILITIES.values():
        request = ListModelsRequest(capability=wanted)
        some = (await whole_cluster.models.ListModels(request, timeout=LIMIT_SECONDS)).models
        assert [one.name for one in some] == [name for name in CAPABILITIES if CAPABILITIES[name] == wanted]


@pytest.mark.parametrize("name", CAPABILITIES)
async def test_every_model_can_be_described_unloaded_and_loaded_through_the_router(
    whole_cluster: Stage, name: str
) -> None:
    """What was found out about it stays known; the memory is its own only while it is loaded."""
    ready = await load(whole_cluster, name)
    assert (ready.name, ready.capability, ready.architecture) == (name, CAPABILITIES[name], "bert")
    assert ready.state == ModelState.MODEL_STATE_READY
    assert ready.max_input_tokens == 64
    assert ready.load_time.ToNanoseconds() > 0
    assert list(ready.labels) == (["contradiction", "entailment", "neutral"] if name == "judge" else [])
    assert ready.HasField("dimensions") is (CAPABILITIES[name] == Capability.CAPABILITY_EMBED)

    gone = await unload(whole_cluster, name)
    assert (gone.state, gone.memory_bytes) == (ModelState.MODEL_STATE_AVAILABLE, 0)
    assert gone.fingerprint == ready.fingerprint
    assert (await unload(whole_cluster, name)).state == ModelState.MODEL_STATE_AVAILABLE

    assert await state(whole_cluster, name) == ModelState.MODEL_STATE_AVAILABLE
    back = await load(whole_cluster, name)
    assert (back.state, back.fingerprint) == (ModelState.MODEL_STATE_READY, ready.fingerprint)


@pytest.mark.parametrize("name", CAPABILITIES)
async def test_tokens_are_counted_for_every_model_through_the_router(whole_cluster: Stage, name: str) -> None:
    """Special tokens included, nothing cut; the model need not be loaded before."""
    await unload(whole_cluster, name)
    request = CountTokensRequest(model=name, inputs=[TEXT, "cat " * 100])
    counted = await whole_cluster.models.CountTokens(request, timeout=LIMIT_SECONDS)
    assert (list(counted.token_counts), counted.max_input_tokens, counted.model) == ([8, 102], 64, name)


async def test_a_call_for_a_model_that_is_not_loaded_loads_it(whole_cluster: Stage) -> None:
    """Whatever the capability: one call waits, and the answer is the one from before."""
    calls: dict[str, Callable[[], Any]] = {
        "small": lambda: whole_cluster.embed.Embed(
            EmbedRequest(model="small", inputs=[TEXT]), timeout=LIMIT_SECONDS, metadata=UNCACHED
        ),
        "cross": lambda: whole_cluster.rerank.Rerank(
            RerankRequest(model="cross", query=TEXT, documents=["a dog"]),
            timeout=LIMIT_SECONDS,
            metadata=UNCACHED,
        ),
        "judge": lambda: whole_cluster.nli.Infer(
            InferRequest(model="judge", pairs=[Pair(premise=TEXT, hypothesis="a dog")]),
            timeout=LIMIT_SECONDS,
            metadata=UNCACHED,
        ),
    }
    for name, call in calls.items():
        before = await call()
        await unload(whole_cluster, name)
        after = await call()
        for response in (before, after):
            response.ClearField("timings")
        assert after == before
        assert await state(whole_cluster, name) == ModelState.MODEL_STATE_READY


@pytest.mark.parametrize("name", ["", "smal"])
async def test_a_model_that_no_service_has_is_told_by_the_router(whole_cluster: Stage, name: str) -> None:
    """With the names of all that there are, for every method that takes one."""
    models = whole_cluster.models
    for call in (
        models.GetModel(GetModelRequest(model=name), timeout=LIMIT_SECONDS),
        models.LoadModel(LoadModelRequest(model=name), timeout=LIMIT_SECONDS),
        models.UnloadModel(UnloadModelRequest(model=name), timeout=LIMIT_SECONDS),
        models.CountTokens(CountTokensRequest(model=name, inputs=[TEXT]), timeout=LIMIT_SECONDS),
    ):
        told = await failed(call)
        assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        assert told.metadata == {"models": ",".join(CAPABILITIES)}


async def test_no_call_is_lost_while_its_model_is_unloaded_and_loaded_again_and_again(pair: Stage) -> None:
    """On both replicas at once, under load: calls that have the model finish, the others load it anew."""
    ask = embeds([TEXT, "a dog"])
    check = same_as(await ask(pair, LIMIT_SECONDS))
    async with calling(pair.address, callers=CALLERS, ask=ask, check=check) as history:
        for _ in range(ROUNDS):
            await history.until_answered(CALLERS)
            await unload(pair, "tiny")
            await history.until_answered(1)
            assert (await load(pair, "tiny")).state == ModelState.MODEL_STATE_READY
    assert not history.failures, history.told()
    address = pair.cluster.file.configuration.services.embed.metrics_listen
    unloads = await total_at(address, "inglenook_model_unloads_total", model="tiny", cause="explicit")
    assert unloads == ROUNDS


async def test_a_model_that_nobody_calls_goes_by_itself_and_comes_back_when_called(pair: Stage) -> None:
    """`idle_unload_seconds` of its own section counts, on each replica; the other model stays."""
    ask = embeds([TEXT], "brief")
    first = await ask(pair, LIMIT_SECONDS)

    async def gone() -> bool:
        return await state(pair, "brief") == ModelState.MODEL_STATE_AVAILABLE

    await until(gone)
    same_as(first)(await ask(pair, LIMIT_SECONDS))
    assert await state(pair, "tiny") == ModelState.MODEL_STATE_READY


async def test_a_replica_that_is_stopped_while_it_loads_costs_no_call(pair: Stage) -> None:
    """Callers that waited for its load are answered by the other replica, and it ends with exit code 0."""
    leaving = pair.replicas[1]  # the other one has metrics
    async with grpc.aio.insecure_channel(leaving.listen, OWN_CONNECTION) as channel:
        replica = Stubs(channel)

        async def begun() -> bool:
            return await state(replica, "slow") != ModelState.MODEL_STATE_AVAILABLE

        ask = embeds([TEXT], "slow")
        async with calling(pair.address, callers=CALLERS, deadline=LIMIT_SECONDS, ask=ask) as history:
            await until(begun)
            assert await pair.end(leaving, signal.SIGTERM) == 0
            await history.until_answered(CALLERS)
            pair.restart(leaving)
            await history.until_answered(1, by=port(leaving.listen))
    assert not history.failures, history.told()


async def test_callers_that_are_told_to_come_back_get_their_answers_when_they_do(
    tmp_path: Path, tiny_model: Path
) -> None:
    """With `on_demand = "retry"`: NOT_READY at once, with RetryInfo, which it is enough to follow."""
    models = describe_model("embed", "tiny", tiny_model, "preload = false")
    engine = 'threads = 1\non_demand = "retry"'
    file = write_cluster(tmp_path, models, {"embed": 1}, engine=engine, route=ONE_ATTEMPT)
    refusals = []

    async def follow(stage: Stage) -> EmbedResponse:
        while True:
            try:
                return await stage.ask(EmbedRequest(model="tiny", inputs=[TEXT]))
            except grpc.aio.AioRpcError as error:
                told = read_failure(error)
            assert told.retry_after_seconds is not None
            refusals.append(told)
            await asyncio.sleep(told.retry_after_seconds)

    async with staged_from(file) as stage, asyncio.timeout(LIMIT_SECONDS):
        assert await state(stage, "tiny") == ModelState.MODEL_STATE_AVAILABLE
        responses = await asyncio.gather(*(follow(stage) for _ in range(CALLERS)))
    assert all(len(one.embeddings) == 1 for one in responses)
    assert refusals, "nobody was told to come back"
    for told in refusals:
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        assert told.metadata == {"model": "tiny"}
