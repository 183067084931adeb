"""Three models in a real process whose memory budget holds two of them, called through the router."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import pytest
from inglenook.common.v1 import ModelState
from inglenook.embed.v1 import EmbedRequest, EmbedResponse
from inglenook.model.v1 import GetModelRequest, LoadModelRequest, UnloadModelRequest
from numpy.typing import NDArray

from services.cli.cluster import Child, Cluster
from tests.support.configuration import describe_model, write_cluster
from tests.support.load import calling, embeds
from tests.support.polling import until
from tests.support.scraping import total_at
from tests.support.stage import START_SECONDS, Stage, staged_from
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs
from tests.support.tiny import Shape, write_model

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux keeps the most that there ever was"
)

MEGABYTE: Final = 1_000_000
KIBIBYTE: Final = 1024
NAMES: Final = ("one", "two", "three")
TEXTS: Final = ("the cat sits", "a dog runs on the mat")

SHAPE: Final = Shape(hidden_size=320, intermediate_size=1280, num_hidden_layers=5)
"""25 MB of weights, nearly all of it matrices that every call reads: a table of words would stay on disk."""

THREADS: Final = "threads = 2"
"""With several, a service keeps the matrices twice, for one thread and for all, and a model shows clearly."""

ROOM: Final = 2.5
"""The budget in models, beside what the process has without any."""
DEADLINE_SECONDS: Final = 40.0
"""Of each call: it may have to wait for two other models to come and go before its own."""
LOADS: Final = 2
"""How often every model has to come in before its callers go."""
CLOSE: Final = 1e-5
"""How far the same answer may lie from itself, by what it shared a batch with."""


@dataclass(frozen=True)
class Alone:
    """What a service says and takes that has one model at a time, and no budget.

    Attributes:
        models: Sections of the models, none of which is loaded from the start.
        base_bytes: Resident memory without a model, after all of them had been there.
        model_bytes: What one model takes, as the service has measured it.
        vectors: What each model answers to `TEXTS`, [texts, dimensions].
    """

    models: str
    base_bytes: int
    model_bytes: int
    vectors: Mapping[str, NDArray[np.float64]]

    @property
    def budget_mb(self) -> int:
        """A budget that holds two of the models, and not three."""
        return math.ceil((self.base_bytes + ROOM * self.model_bytes) / MEGABYTE)


def memory(child: Child, line: str) -> int:
    """Return one of the sizes that the system keeps of a process, in bytes (proc(5))."""
    lines = Path(f"/proc/{child.process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(one.split()[1]) * KIBIBYTE for one in lines if one.startswith(f"{line}:"))


def vectors(response: EmbedResponse) -> NDArray[np.float64]:
    """Return the embeddings of a response, [texts, dimensions]."""
    return np.array([list(one.values) for one in response.embeddings])


@pytest.fixture(scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """Write three models, and have a service load each by itself."""
    folder, sizes, found = tmp_path_factory.mktemp("alone"), [], {}
    written = [write_model(folder / name, shape=SHAPE, seed=seed) for seed, name in enumerate(NAMES)]
    models = "".join(describe_model("embed", one.name, one, "preload = false") for one in written)
    file = write_cluster(folder, models, {"embed": 1}, engine=THREADS)
    listen = file.configuration.services.embed.listen
    with Cluster(file, logs=folder) as cluster:
        child = cluster.start("embed", listen, metrics=False)
        await asyncio.to_thread(cluster.wait_until_serving, START_SECONDS)
        async with grpc.aio.insecure_channel(listen, OWN_CONNECTION) as channel:
            stubs = Stubs(channel)
            for name in NAMES:
                loaded = await stubs.models.LoadModel(LoadModelRequest(model=name), timeout=LIMIT_SECONDS)
                sizes.append(loaded.model.memory_bytes)
                found[name] = vectors(await stubs.ask(EmbedRequest(model=name, inputs=TEXTS)))
                await stubs.models.UnloadModel(UnloadModelRequest(model=name), timeout=LIMIT_SECONDS)
            # The first load brings in code besides, which stays.
            return Alone(models, memory(child, "VmRSS"), max(sizes[1:]), found)


@pytest.fixture(scope="module")
async def tight(tmp_path_factory: pytest.TempPathFactory, alone: Alone) -> AsyncIterator[Stage]:
    """Run an embed service with that budget, behind a router."""
    file = write_cluster(
        tmp_path_factory.mktemp("tight"),
        alone.models,
        {"embed": 1},
        engine=f"{THREADS}\nmemory_budget_mb = {alone.budget_mb}",
    )
    async with staged_from(file) as stage:
        yield stage


def same_as(expected: NDArray[np.float64]) -> Callable[[EmbedResponse], None]:
    """Return what checks that an answer has these vectors."""

    def check(response: EmbedResponse) -> None:
        np.testing.assert_allclose(vectors(response), expected, rtol=0, atol=CLOSE)

    return check


def test_the_models_differ_and_their_measured_size_is_of_the_order_of_their_weights(alone: Alone) -> None:
    """Else right answers would prove nothing, and a budget worked out from the size would mean nothing."""
    one, two, three = (alone.vectors[name] for name in NAMES)
    assert min(np.abs(a - b).max() for a, b in ((one, two), (two, three), (one, three))) > 100 * CLOSE
    assert 25 * MEGABYTE < alone.model_bytes < 100 * MEGABYTE


async def test_callers_of_three_models_share_memory_for_two(tight: Stage, alone: Alone) -> None:
    """Every answer is that of the model that was asked, no call fails, and the memory is never exceeded.

    The system's own record of the most that the process ever had counts, from its start: nothing is missed.
    """
    (service,) = tight.replicas
    metrics = tight.cluster.file.configuration.services.embed.metrics_listen

    async def all_came_back() -> bool:
        name = "inglenook_model_load_seconds_count"
        return min([await total_at(metrics, name, model=model) for model in NAMES]) >= LOADS

    async with AsyncExitStack() as stack:
        histories = [
            await stack.enter_async_context(
                calling(
                    tight.address,
                    callers=2,
                    deadline=DEADLINE_SECONDS,
                    ask=embeds(TEXTS, name),
                    check=same_as(alone.vectors[name]),
                )
            )
            for name in NAMES
        ]
        await until(all_came_back, 2 * LIMIT_SECONDS)
    evictions = await total_at(metrics, "inglenook_model_unloads_total", cause="evicted")
    peak = memory(service, "VmHWM")
    print(
        f"budget {alone.budget_mb} MB, most resident memory {peak / MEGABYTE:.1f} MB; "
        f"base {alone.base_bytes / MEGABYTE:.1f} MB, a model {alone.model_bytes / MEGABYTE:.1f} MB; "
        f"answers {[len(one) for one in histories]}, evictions {evictions:g}"
    )
    for history in histories:
        assert not history.failures, history.told()
    assert evictions >= len(NAMES) * (LOADS - 1)
    assert peak <= alone.budget_mb * MEGABYTE
    assert peak > alone.base_bytes + 1.5 * alone.model_bytes, "two models were never there at a time"


async def test_a_model_that_is_ready_answers_while_another_one_is_loaded(tight: Stage) -> None:
    """Calls for it come back before the load is through, which says so itself all the while."""
    load, unload = LoadModelRequest(model="two"), UnloadModelRequest(model="two")
    models = tight.models

    async def is_loading() -> bool:
        told = await models.GetModel(GetModelRequest(model="two"), timeout=LIMIT_SECONDS)
        return told.model.state == ModelState.MODEL_STATE_LOADING

    async def answered_meanwhile() -> bool:
        """Load anew; say whether a call for the other one was answered between two looks at the load."""
        await models.LoadModel(LoadModelRequest(model="one"), timeout=LIMIT_SECONDS)
        await models.UnloadModel(unload, timeout=LIMIT_SECONDS)
        loading = asyncio.ensure_future(models.LoadModel(load, timeout=LIMIT_SECONDS))
        answers = 0
        while not loading.done() and answers < 2:
            before = await is_loading()
            await tight.ask(EmbedRequest(model="one", inputs=TEXTS))
            answers += before and await is_loading()
        await loading
        return answers == 2

    await until(answered_meanwhile, 2 * LIMIT_SECONDS)
