"""A reload and the cache: kept while its settings are the same, replaced in one step when they are not."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from inglenook.router.v1 import GetStatusRequest, PurgeCacheRequest

from services.chassis.process import Surroundings
from services.chassis.testing import running
from services.config import ConfigurationInvalid
from services.router.app import RouterApplication
from tests.support.polling import until
from tests.support.redis_server import RedisServer, redis_server
from tests.support.routing import write_routes
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs


def connections(server: RedisServer) -> set[str]:
    """Return the ids of a router's connections to a Redis."""
    return {one["id"] for one in server.asking.client_list() if one["name"] == "inglenook-router"}


async def test_a_reload_keeps_the_cache_or_moves_to_another(tmp_path: Path, server: RedisServer) -> None:
    """The connections to a Redis that is not configured any more are ended, the others stay."""

    def settings(more: str) -> str:
        return f'[cache]\nurl = "{server.url}"\n{more}'

    made: list[RouterApplication] = []

    def build(surroundings: Surroundings) -> RouterApplication:
        made.append(RouterApplication(surroundings, write_routes(tmp_path, {}, settings(""))))
        return made[0]

    with redis_server(tmp_path) as other:
        async with (
            running(build) as process,
            grpc.aio.insecure_channel(process.address, OWN_CONNECTION) as channel,
        ):
            router = Stubs(channel)
            await router.router.PurgeCache(PurgeCacheRequest(), timeout=LIMIT_SECONDS)
            before = connections(server)
            assert before
            await made[0].reload(write_routes(tmp_path, {"embed": ["127.0.0.1:1"]}, settings("")))
            await router.router.PurgeCache(PurgeCacheRequest(), timeout=LIMIT_SECONDS)
            assert connections(server) == before
            with pytest.raises(ConfigurationInvalid, match=r"cache\.password"):
                await made[0].reload(
                    write_routes(tmp_path, {}, settings(f'password = "file:{tmp_path}/none"'))
                )
            assert connections(server) == before
            await made[0].reload(write_routes(tmp_path, {}, f'[cache]\nurl = "{other.url}"'))
            await router.router.PurgeCache(PurgeCacheRequest(), timeout=LIMIT_SECONDS)
            told = await router.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)
            assert told.cache.url == other.url
            assert connections(other)

            async def have_left() -> bool:
                return not connections(server)

            await until(have_left)
