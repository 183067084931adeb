"""Model files that are missing or damaged, in real processes: they say why, and live on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from inglenook.common.v1 import ModelInfo, ModelState
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import GetModelRequest, LoadModelRequest
from inglenook.router.v1 import BackendState

from services.cli.cluster import Cluster
from tests.support.configuration import write_configuration
from tests.support.polling import until
from tests.support.routing import failed
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs

SERVICE = "inglenook.embed.v1.EmbedService"
REQUEST = EmbedRequest(model="tiny", inputs=["the cat sits"])
MODEL = GetModelRequest(model="tiny")


@dataclass(frozen=True)
class Broken:
    """A cluster whose model cannot be loaded, and stubs that call its embed service and its router."""

    cluster: Cluster
    embed: Stubs
    router: Stubs


@asynccontextmanager
async def broken(folder: Path, model: Path) -> AsyncIterator[Broken]:
    """Start a cluster over a model folder with a problem, and wait until both processes answer."""
    file = write_configuration(folder, model)
    services = file.configuration.services
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(Cluster(file, logs=folder))
        cluster.start_all()
        embed, router = [
            Stubs(
                await stack.enter_async_context(
                    grpc.aio.insecure_channel(address, [*OWN_CONNECTION, ("grpc.enable_retries", 0)])
                )
            )
            for address in (services.embed.listen, services.router.listen)
        ]
        for stubs in (embed, router):
            await asyncio.wait_for(stubs.channel.channel_ready(), LIMIT_SECONDS)
        await router.until_backend(services.embed.listen, BackendState.BACKEND_STATE_NOT_SERVING)
        yield Broken(cluster, embed, router)


async def until_failed(stubs: Stubs) -> ModelInfo:
    """Wait until the model has failed, and return what is said about it."""

    async def look() -> bool:
        model = (await stubs.models.GetModel(MODEL, timeout=LIMIT_SECONDS)).model
        return model.state == ModelState.MODEL_STATE_FAILED

    await until(look)
    return (await stubs.models.GetModel(MODEL, timeout=LIMIT_SECONDS)).model


def damage(folder: Path, kind: str) -> str:
    """Break a model folder; return what the explanation has to name."""
    if kind == "missing folder":
        shutil.rmtree(folder)
        return str(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return weights.name


@pytest.mark.parametrize("kind", ["missing folder", "truncated weights"])
async def test_a_service_whose_model_is_broken_says_why_and_recovers_when_it_is_repaired(
    tmp_path: Path, tiny_model: Path, kind: str
) -> None:
    """It stays NOT_SERVING and alive, names the file, answers MODEL_FAILED; LoadModel tries again."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    named = damage(folder, kind)
    async with broken(tmp_path, folder) as case:
        for stubs in (case.embed, case.router):
            assert named in (await until_failed(stubs)).state_detail
            assert not await stubs.serves(SERVICE)
        refused = await case.embed.refusal(REQUEST)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
        assert named in refused.message
        refused = await case.router.refusal(REQUEST)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
        load = LoadModelRequest(model="tiny")
        refused = await failed(case.router.models.LoadModel(load, timeout=LIMIT_SECONDS))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
        assert named in refused.message
        case.cluster.check_alive()

        shutil.copytree(tiny_model, folder, dirs_exist_ok=True)
        loaded = await case.router.models.LoadModel(load, timeout=LIMIT_SECONDS)
        assert loaded.model.state == ModelState.MODEL_STATE_READY
        assert await case.embed.serves(SERVICE)
        await until(lambda: case.router.serves(SERVICE))
        assert len((await case.router.ask(REQUEST)).embeddings) == 1
