"""The router and an engine behind it follow one file, whatever is written into it, without losing a call."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import GetModelRequest, ListModelsRequest
from inglenook.router.v1 import GetStatusRequest, ReloadRequest

from services.chassis.process import ServiceProcess
from services.chassis.reload import ReloadRefused
from services.chassis.testing import read_failure, running, settings
from services.config import load
from services.embed.app import build as build_embed
from services.router.app import build as build_router
from tests.support.polling import until
from tests.support.routing import routed
from tests.support.scraping import total
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs
from tests.support.tiny import write_model

REWRITES: Final = 50
CALLERS: Final = 3

FILE: Final = """
[models.tiny]
capability = "embed"
source = "dir:{folder}"

[engine]
calibrate = false

[limits]
default_timeout_seconds = {timeout}

[channels]
keepalive_seconds = {keepalive}

[services.router]
http_listen = "off"

[routes]
embed = ["pool"]

[backends.pool]
endpoints = ["{endpoint}"]
"""
BROKEN: Final = ("[models", "[limits]\nmax_speed = 1\n", '[models.tiny]\ncapability = "embed"\n')


@dataclass(frozen=True)
class Pair(Stubs):
    """An embed service and a router in front of it, which have the same file.

    Attributes:
        path: The file.
        engine: The embed service.
        router_process: The router.
        endpoint: Where the embed service listens.
    """

    path: Path
    engine: ServiceProcess
    router_process: ServiceProcess
    endpoint: str

    async def call(self, over: asyncio.Event) -> int:
        """Call until it is over; a call that fails fails the test. Return how many there were."""
        count = 0
        while not over.is_set():
            answer = await self.ask(EmbedRequest(model="tiny", inputs=["the cat sits", "a dog"]))
            assert len(answer.embeddings) == 2
            count += 1
        return count

    async def reload(self, content: str) -> list[str]:
        """Have both read this; return what their states say of it."""
        self.path.write_text(content, encoding="utf-8")
        errors = []
        for process in (self.engine, self.router_process):
            try:
                await process.reloader.reload()
                assert process.reloader.status.last_error == ""
            except ReloadRefused:
                errors.append(process.reloader.status.last_error)
        return errors


def content(folder: Path, endpoint: str, timeout: int = 60, keepalive: int = 2) -> str:
    """Return a file."""
    return FILE.format(folder=folder, endpoint=endpoint, timeout=timeout, keepalive=keepalive)


@asynccontextmanager
async def paired(folder: Path) -> AsyncIterator[Pair]:
    """Run both; their model is in the folder `model`."""
    path = folder / "inglenook.toml"
    write_model(folder / "model")
    path.write_text(content(folder / "model", "127.0.0.1:1"), encoding="utf-8")
    first = load(path)
    async with running(lambda surroundings: build_embed(surroundings, first), settings()) as engine:
        path.write_text(content(folder / "model", engine.address), encoding="utf-8")
        file = load(path)
        async with (
            running(lambda surroundings: build_router(surroundings, file), settings(metrics=True)) as router,
            grpc.aio.insecure_channel(router.address, OWN_CONNECTION) as channel,
        ):
            pair = Pair(channel, path, engine, router, engine.address)
            await until(lambda: pair.serves("inglenook.embed.v1.EmbedService"))
            yield pair


async def test_a_file_that_is_rewritten_fifty_times_under_load_loses_no_call(tmp_path: Path) -> None:
    """Every third one is broken. Each is in force or told of; nothing is left of the old ones at the end."""
    write_model(tmp_path / "other", seed=8)
    async with paired(tmp_path) as pair:
        current = inside(pair.router_process)._current
        over, old = asyncio.Event(), []
        callers = [asyncio.create_task(pair.call(over)) for _ in range(CALLERS)]
        for number in range(REWRITES):
            old.append(weakref.ref(current.wiring))
            if number % 3 == 2:
                errors = await pair.reload(BROKEN[number // 3 % len(BROKEN)])
                assert len(errors) == 2
                assert all(errors)
            else:
                model = tmp_path / ("model" if number // 12 % 2 else "other")
                fine = content(model, pair.endpoint, timeout=100 + number, keepalive=2 + number % 2)
                assert await pair.reload(fine) == []
                assert current.wiring.configuration.limits.default_timeout_seconds == 100 + number
        over.set()
        assert min(await asyncio.gather(*callers)) > 0
        await until(lambda: one_left(old, current.wiring))
        await until(lambda: nothing_in_flight(pair))
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert names.count("look-up-pool") == 1
        assert not [name for name in names if name.startswith(("reload", "close-"))]


def inside(process: ServiceProcess) -> Any:
    """Return the application of a process, for a look at what it holds."""
    return process._application


async def one_left(old: list[weakref.ref[object]], current: object) -> bool:
    """Say whether nothing but what is in force is left."""
    gc.collect()
    return {id(found) for one in old if (found := one()) is not None} <= {id(current)}


async def nothing_in_flight(pair: Pair) -> bool:
    """Say whether the router has no call, as its metrics tell."""
    return await total(pair.router_process, "inglenook_calls_in_flight", grpc_method="Embed") == 0


async def test_a_changed_model_answers_when_it_is_loaded_and_a_broken_one_never_does(tmp_path: Path) -> None:
    """The old one answers meanwhile, and the status of the model and of the file tell about the other."""
    write_model(tmp_path / "other", seed=8)
    request = EmbedRequest(model="tiny", inputs=["the cat"])
    async with paired(tmp_path) as pair:
        before = (await pair.ask(request)).embeddings[0]
        await pair.reload(content(tmp_path / "other", pair.endpoint))

        async def changed() -> bool:
            return (await pair.ask(request)).embeddings[0] != before

        await until(changed)
        after = (await pair.ask(request)).embeddings[0]

        pair.path.write_text(content(tmp_path / "nowhere", pair.endpoint), encoding="utf-8")
        assert await pair.engine.reloader.reload()

        async def told() -> str:
            return pair.engine.reloader.status.last_error

        assert (await until(told)).startswith("models.tiny: answers as before: there is no folder")
        assert (await pair.ask(request)).embeddings[0] == after
        described = await pair.models.GetModel(GetModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert "there is no folder" in described.model.state_detail


async def test_reload_says_what_is_in_force_and_refuses_a_file_with_all_of_its_problems(
    tmp_path: Path,
) -> None:
    """One violation for each, by path and without values; the status keeps the error until it is mended."""
    async with routed(tmp_path, {}) as router:
        path = router.file.path
        good = path.read_text(encoding="utf-8")
        same = await router.router.Reload(ReloadRequest(), timeout=LIMIT_SECONDS)
        assert (same.changed, same.config.sha256) == (False, router.file.sha256)

        path.write_text(good + '[limits]\nmax_speed = 1\nmax_queue_size = "sk-secret"\n', encoding="utf-8")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await router.router.Reload(ReloadRequest(), timeout=LIMIT_SECONDS)
        failure = read_failure(raised.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONFIG_INVALID")
        assert [field for field, _ in failure.violations] == ["limits.max_queue_size", "limits.max_speed"]
        assert "sk-secret" not in str(failure)
        status = await router.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
        assert status.config.sha256 == router.file.sha256
        assert "limits.max_speed" in status.config.last_error

        path.write_text(good + "[limits]\ndefault_timeout_seconds = 7\n", encoding="utf-8")
        reloaded = await router.router.Reload(ReloadRequest(), timeout=LIMIT_SECONDS)
        assert reloaded.changed
        assert reloaded.config.last_error == ""
        listed = await router.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
        assert listed.config == reloaded.config != same.config


async def test_certificates_of_a_backend_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    """They are looked at before anything is swapped, and the setting is named."""
    async with routed(tmp_path, {"embed": ["127.0.0.1:1"]}, heard=False) as router:
        path = router.file.path
        before = inside(router.process)._current.wiring
        text = path.read_text(encoding="utf-8") + f'tls = {{ ca = "{tmp_path}/nowhere.pem" }}\n'
        path.write_text(text, encoding="utf-8")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await router.router.Reload(ReloadRequest(), timeout=LIMIT_SECONDS)
        assert [field for field, _ in read_failure(raised.value).violations] == ["backends.embed-pool.tls"]
        assert inside(router.process)._current.wiring is before
