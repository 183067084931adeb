"""An embed service whose model is still being downloaded, from a hub that never finishes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from inglenook.common.v1 import ModelState
from inglenook.model.v1 import ListModelsRequest, UnloadModelRequest

from tests.support.hub_repository import COMMIT, read_folder
from tests.support.hub_server import Fault, HubServer, serving
from tests.support.polling import until
from tests.support.processes import Running, started, write_settings
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs

MODEL = """
[models.tiny]
capability = "embed"
source = "hf:org/model"
revision = "{commit}"

[hub]
endpoint = "{url}"
"""


class Downloading(NamedTuple):
    """A service that is downloading, and stubs that call it."""

    process: Running
    stubs: Stubs


@pytest.fixture
def hub(tiny_model: Path) -> Iterator[HubServer]:
    """A hub that sends the weights of `org/model` a byte at a time, and never the last one."""
    repository = read_folder(tiny_model)
    with serving(model=repository) as server:
        server.faults.append(Fault(repository.sha256("model.safetensors"), trickle_after=1_000))
        yield server


@pytest.fixture
async def downloading(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Downloading]:
    """Run an embed service until it says that the weights are arriving."""
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    settings = write_settings(tmp_path, more=MODEL.format(commit=COMMIT, url=hub.url))
    with started("services.embed", ["--config", str(settings)], tmp_path) as process:
        async with grpc.aio.insecure_channel(await process.address(), OWN_CONNECTION) as channel:
            stubs = Stubs(channel)
            await until(lambda: is_told(stubs))
            yield Downloading(process, stubs)


async def is_told(stubs: Stubs) -> bool:
    """Say whether the list of models has it that weights are arriving."""
    listed = await stubs.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
    (model,) = listed.models
    loading = model.state == ModelState.MODEL_STATE_LOADING
    return loading and model.state_detail.startswith("downloading model.safetensors")


async def test_list_of_models_tells_how_a_download_is_coming_along(
    downloading: Downloading, hub: HubServer
) -> None:
    """A model that says nothing but LOADING for an hour looks like a hang."""
    assert await is_told(downloading.stubs)
    assert not hub.left.is_set()


async def test_service_that_is_told_to_stop_does_not_wait_for_a_download(downloading: Downloading) -> None:
    """The hub never finishes, so a process that waited for it would not end either."""
    downloading.process.signal(signal.SIGTERM)

    assert await downloading.process.exit_code() == 0


async def test_download_of_a_model_that_is_unloaded_ends(downloading: Downloading, hub: HubServer) -> None:
    """It would take network and disk for something that nobody wants any more."""
    request = UnloadModelRequest(model="tiny")
    gone = await downloading.stubs.models.UnloadModel(request, timeout=LIMIT_SECONDS)

    assert gone.model.state == ModelState.MODEL_STATE_AVAILABLE
    assert await asyncio.to_thread(hub.left.wait, LIMIT_SECONDS)
