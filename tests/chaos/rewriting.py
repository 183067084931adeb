"""The configuration of a router is rewritten again and again; every third version is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
from inglenook.router.v1 import ReloadRequest

from services.chassis.testing import read_failure
from tests.chaos.cluster import Hurt
from tests.support.stubs import LIMIT_SECONDS, Stubs

TIMES: Final = 50
BROKEN: Final = (
    "[routes.embed\n",
    '[routes.embed]\nbackends = ["nowhere"]\n',
    "[cache]\nurl = 7\n",
    "\0",
    "",
)
"""What a file has at its end, or instead of everything, that cannot be put in force."""
STRATEGIES: Final = ("priority", "least_loaded", "lowest_latency", "lowest_cost")


@asynccontextmanager
async def rewritten(hurt: Hurt, seconds: float) -> AsyncIterator[None]:
    """Rewrite the file and ask for a reload each time; put the first version back at the end."""
    path = hurt.router.folder / "router-1.toml"
    first = path.read_text(encoding="utf-8")
    router = hurt.desk.stubs
    try:
        for number in range(TIMES):
            broken = number % 3 == 2
            path.write_text(_broken(first, number) if broken else _changed(first, number), encoding="utf-8")
            assert await _reload(router) == ("CONFIG_INVALID" if broken else "changed"), number
            await asyncio.sleep(seconds / TIMES)
    finally:
        path.write_text(first, encoding="utf-8")
        assert await _reload(router) == "changed"
    yield


async def _reload(router: Stubs) -> str:
    """Return what became of a reload: changed, unchanged, or the reason why it was refused."""
    try:
        response = await router.router.Reload(ReloadRequest(), timeout=LIMIT_SECONDS)
    except grpc.aio.AioRpcError as error:
        return read_failure(error).reason
    return "changed" if response.changed else "unchanged"


def _changed(text: str, number: int) -> str:
    """Return a version that is valid and differs from any other."""
    strategy = STRATEGIES[number % len(STRATEGIES)]
    text = text.replace(
        "hedge_percentile = 95", f'hedge_percentile = 9{number % 10}\nstrategy = "{strategy}"'
    )
    return text.replace("memory_bytes = 100_000", f"memory_bytes = {100_000 + number % 4}") + f"# {number}\n"


def _broken(text: str, number: int) -> str:
    what = BROKEN[number % len(BROKEN)]
    return text + what if what else text[: len(text) // 2] + "=\n"
