"""What an operator sees of a cluster of real processes, and does to its models."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from inglenook.common.v1 import Capability, ModelState
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import (
    CountTokensRequest,
    ListModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from inglenook.router.v1 import BackendState, CapabilityStatus, GetStatusRequest
from prometheus_client.parser import text_string_to_metric_families

from services.version import VERSION
from tests.support.stage import IMPATIENT, Stage, staged
from tests.support.stubs import LIMIT_SECONDS

SERVICE = "inglenook.embed.v1.EmbedService"


@pytest.fixture
async def stage(tmp_path: Path, tiny_model: Path) -> AsyncIterator[Stage]:
    """Run a router and two embed replicas."""
    async with staged(tmp_path, tiny_model, replicas=2, more=IMPATIENT) as stage:
        for replica in stage.replicas:
            await stage.until_backend(replica.listen, BackendState.BACKEND_STATE_HEALTHY)
        yield stage


async def embed_status(stage: Stage) -> CapabilityStatus:
    """Return what the router says about embed as a whole."""
    status = await stage.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
    return next(one for one in status.capabilities if one.capability == Capability.CAPABILITY_EMBED)


def metrics(address: str | None) -> dict[tuple[str, ...], float]:
    """Return the samples of a metrics endpoint: by name and values of the labels, in order of the labels."""
    with urlopen(f"http://{address}/metrics", timeout=LIMIT_SECONDS) as response:
        text = response.read().decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_status_and_metrics_stay_true_when_a_replica_dies(stage: Stage) -> None:
    """GetStatus, ListBackends, health and metrics agree, before and after."""
    file = stage.cluster.file
    status = await stage.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
    assert (status.version, status.config.path) == (VERSION, str(file.path))
    assert status.config.sha256 == file.sha256
    told = await embed_status(stage)
    assert (told.available, told.healthy_backends, told.total_backends) == (True, 2, 2)

    dead, alive = stage.replicas
    await stage.end(dead, signal.SIGKILL)
    backend = await stage.until_backend(dead.listen, BackendState.BACKEND_STATE_UNREACHABLE)
    assert backend.state_detail
    told = await embed_status(stage)
    assert (told.available, told.healthy_backends, told.total_backends) == (True, 1, 2)
    assert await stage.serves(SERVICE)
    await stage.ask(EmbedRequest(model="tiny", inputs=["a"]))

    samples = await asyncio.to_thread(metrics, file.configuration.services.router.metrics_listen)
    gauge = ("inglenook_backend_state", "embed", "embed")
    assert samples[*gauge, dead.listen, "unreachable"] == 1
    assert samples[*gauge, alive.listen, "healthy"] == 1
    assert samples["grpc_server_handled_total", "OK", "Embed", SERVICE, "unary"] == 1

    await stage.end(alive, signal.SIGKILL)
    await stage.until_backend(alive.listen, BackendState.BACKEND_STATE_UNREACHABLE)
    told = await embed_status(stage)
    assert (told.available, told.healthy_backends, told.total_backends) == (False, 0, 2)
    assert not await stage.serves(SERVICE)


async def test_a_model_can_be_taken_out_of_the_whole_cluster_and_put_back(stage: Stage) -> None:
    """UnloadModel and LoadModel reach every replica; a call in between brings the model back."""
    text = EmbedRequest(model="tiny", inputs=["the cat sits"])
    count = CountTokensRequest(model="tiny", inputs=["the cat sits"])
    before = await stage.ask(text)
    assert list((await stage.models.CountTokens(count, timeout=LIMIT_SECONDS)).token_counts) == [5]

    async def states() -> list[ModelState.ValueType]:
        listed = await stage.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
        return [model.state for model in listed.models]

    await stage.models.UnloadModel(UnloadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
    assert await states() == [ModelState.MODEL_STATE_AVAILABLE]
    between = await stage.ask(text)
    assert await states() == [ModelState.MODEL_STATE_READY]  # on one of the replicas at least

    await stage.models.UnloadModel(UnloadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
    await stage.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
    assert await states() == [ModelState.MODEL_STATE_READY]
    assert await stage.serves(SERVICE)
    after = await stage.ask(text)
    for answer in (between, after):
        assert list(answer.embeddings[0].values) == list(before.embeddings[0].values)
