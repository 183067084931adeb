"""What a new configuration takes over from the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from services.chassis.tracing import Tracing
from services.config import Capability, ConfigurationFile
from services.router.routing.endpoint import EndpointState
from services.router.routing.observer import Observer
from services.router.routing.route import Route, open_routes
from tests.support.backend import FakeBackend, Held, serving
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import asking, until_heard, write_tiers


def opened(file: ConfigurationFile, before: Mapping[Capability, Route]) -> Mapping[Capability, Route]:
    """Open the routes of a file after others."""
    return open_routes(file.configuration, Tracing(None), Observer(), before)


async def close(routes: Mapping[Capability, Route]) -> None:
    """Close routes."""
    await asyncio.gather(*(route.close() for route in routes.values()))


async def test_backends_that_have_not_changed_keep_connections_ejections_and_latencies(
    tmp_path: Path,
) -> None:
    """Another strategy and another backend are no reason to forget what is known of this one."""
    async with serving(FakeBackend()) as one, serving(FakeBackend()) as other:
        before = opened(write_tiers(tmp_path, {"kept": [one]}), {})
        await until_heard(before["embed"])
        await before["embed"].unary(asking(b"x"))
        (endpoint,) = before["embed"].endpoints
        after = opened(write_tiers(tmp_path, {"kept": [one], "new": [other]}, "max_attempts = 2"), before)
        await close(before)
        try:
            kept = after["embed"].endpoints[0]
            assert kept is endpoint
            assert (kept.status.state, kept.median_latency is not None) == (EndpointState.HEALTHY, True)
            assert (await after["embed"].unary(asking(b"x"))).backend == "kept"
        finally:
            await close(after)


async def test_backends_that_have_changed_are_opened_anew(tmp_path: Path) -> None:
    """So are all of them when the settings of connections are others; the old ones end with their calls."""
    held = Held()
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(serving(FakeBackend(unary=held.unary)))
        await stack.enter_async_context(asyncio.timeout(LIMIT_SECONDS))
        before = opened(write_tiers(tmp_path, {"b": [fake]}), {})
        await until_heard(before["embed"])
        call = asyncio.create_task(before["embed"].unary(asking(b"x")))
        await held.arrived.wait()
        other = write_tiers(tmp_path, {"b": [fake]}, more="[channels]\nejection_failures = 9")
        after = opened(other, before)
        try:
            assert after["embed"].endpoints[0] is not before["embed"].endpoints[0]
            held.released.set()
            assert (await call).content == b"x"
            await close(before)
            assert (await after["embed"].unary(asking(b"x"))).content == b"x"
        finally:
            await close(after)


async def test_limits_count_only_as_far_as_connections_use_them(tmp_path: Path) -> None:
    """Another default timeout leaves connections alone; another size of messages does not."""
    async with serving(FakeBackend()) as fake:
        routes = [opened(write_tiers(tmp_path, {"b": [fake]}), {})]
        for limits in ("default_timeout_seconds = 7", "max_message_bytes = 1048576"):
            file = write_tiers(tmp_path, {"b": [fake]}, more=f"[limits]\n{limits}")
            routes.append(opened(file, routes[-1]))
        first, slower, smaller = (one["embed"].pools[0] for one in routes)
        for one in routes:
            await close(one)
    assert slower is first
    assert smaller is not first


async def test_a_route_that_is_gone_closes_its_backends(tmp_path: Path) -> None:
    """Nobody goes on watching what no configuration names."""
    others = asyncio.all_tasks()
    async with serving(FakeBackend()) as fake:
        before = opened(write_tiers(tmp_path, {"b": [fake]}), {})
        await until_heard(before["embed"])
        after = opened(write_tiers(tmp_path, {"b": [fake]}, capability="nli"), before)
        await close(before)
        assert not after["embed"].pools
        assert after["nli"].endpoints[0] is not before["embed"].endpoints[0]
        await close(after)
    names = {task.get_name() for task in asyncio.all_tasks() - others}
    assert not any(name.startswith(("watch-", "look-up-", "list-models")) for name in names)
