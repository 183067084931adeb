"""What operators learn from a router: status, backends, health, metrics, reflection."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from inglenook.common.v1 import Capability
from inglenook.router.v1 import (
    BackendState,
    CapabilityStatus,
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
)

from services.version import VERSION
from tests.support.backend import FakeBackend, serving
from tests.support.configuration import free_addresses
from tests.support.routing import Routed, failed, routed
from tests.support.scraping import scrape
from tests.support.stubs import LIMIT_SECONDS

EMBED = "inglenook.embed.v1.EmbedService"
HEALTHY = BackendState.BACKEND_STATE_HEALTHY
NOT_SERVING = BackendState.BACKEND_STATE_NOT_SERVING
UNREACHABLE = BackendState.BACKEND_STATE_UNREACHABLE


async def status(router: Routed) -> GetStatusResponse:
    """Return the router's status."""
    return await router.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)


def of_embed(response: GetStatusResponse) -> CapabilityStatus:
    """Return what a status says about embed."""
    return next(one for one in response.capabilities if one.capability == Capability.CAPABILITY_EMBED)


async def test_the_status_names_version_configuration_and_all_four_capabilities(tmp_path: Path) -> None:
    """An operator sees which file is in force, and which capabilities it routes nowhere."""
    before = datetime.now(UTC)
    async with serving(FakeBackend()) as fake, routed(tmp_path, {"embed": [fake.address]}) as router:
        told = await status(router)
    assert told.version == VERSION
    assert (told.config.path, told.config.sha256) == (str(router.file.path), router.file.sha256)
    assert told.config.last_error == ""
    assert before <= told.started_at.ToDatetime(UTC) <= datetime.now(UTC)
    assert told.uptime.ToTimedelta().total_seconds() >= 0
    assert [one.capability for one in told.capabilities] == [
        Capability.CAPABILITY_CHAT,
        Capability.CAPABILITY_EMBED,
        Capability.CAPABILITY_RERANK,
        Capability.CAPABILITY_NLI,
    ]
    routed_nowhere = [one for one in told.capabilities if one.total_backends == 0]
    assert len(routed_nowhere) == 3
    assert not any(one.available for one in routed_nowhere)


async def test_the_status_follows_replicas_that_die_and_return(tmp_path: Path) -> None:
    """`healthy_backends` counts those that answer now, `available` is false without any."""
    steady, flaky = free_addresses(2)
    async with routed(tmp_path, {"embed": [steady, flaky]}) as router:
        assert not of_embed(await status(router)).available
        async with serving(FakeBackend(), address=steady):
            await router.until_backend(steady, HEALTHY)
            async with serving(FakeBackend(), address=flaky):
                await router.until_backend(flaky, HEALTHY)
                told = of_embed(await status(router))
                assert (told.available, told.healthy_backends, told.total_backends) == (True, 2, 2)
            await router.until_backend(flaky, UNREACHABLE)
            told = of_embed(await status(router))
            assert (told.available, told.healthy_backends, told.total_backends) == (True, 1, 2)
        await router.until_backend(steady, UNREACHABLE)
        told = of_embed(await status(router))
        assert (told.available, told.healthy_backends, told.total_backends) == (False, 0, 2)


async def test_backends_are_listed_with_state_reason_and_since_when(tmp_path: Path) -> None:
    """One line per endpoint, healthy ones without words, others with a sentence."""
    (nobody,) = free_addresses(1)
    before = datetime.now(UTC)
    async with (
        serving(FakeBackend()) as fine,
        serving(FakeBackend()) as loading,
        routed(tmp_path, {"embed": [fine.address, loading.address, nobody]}) as router,
    ):
        await loading.say(EMBED, serving=False)
        await router.until_backend(loading.address, NOT_SERVING)
        listed = {one.endpoint: one for one in await router.backends()}
    assert {endpoint: one.state for endpoint, one in listed.items()} == {
        fine.address: HEALTHY,
        loading.address: NOT_SERVING,
        nobody: UNREACHABLE,
    }
    assert listed[fine.address].state_detail == ""
    assert listed[loading.address].state_detail
    assert listed[nobody].state_detail
    for one in listed.values():
        assert (one.name, one.capability, one.tier) == ("embed-pool", Capability.CAPABILITY_EMBED, 0)
        assert before <= one.state_since.ToDatetime(UTC) <= datetime.now(UTC)


async def test_backends_of_one_capability_can_be_asked_for(tmp_path: Path) -> None:
    """The filter leaves other capabilities out; without it they are in order of capability."""
    async with (
        serving(FakeBackend()) as one,
        serving(FakeBackend()) as other,
        routed(tmp_path, {"embed": [one.address], "chat": [other.address]}) as router,
    ):
        everything = [backend.endpoint for backend in await router.backends()]
        request = ListBackendsRequest(capability=Capability.CAPABILITY_EMBED)
        filtered = await router.router.ListBackends(request, timeout=LIMIT_SECONDS)
    assert everything == [other.address, one.address]
    assert [backend.endpoint for backend in filtered.backends] == [one.address]


async def test_the_routers_health_follows_its_backends(tmp_path: Path) -> None:
    """A watch on a capability's service sees it come and go; the router itself serves all the while."""
    (address,) = free_addresses(1)
    states = health_pb2.HealthCheckResponse
    async with routed(tmp_path, {"embed": [address]}) as router, asyncio.timeout(LIMIT_SECONDS):
        stub = health_pb2_grpc.HealthStub(router.channel)
        watch: Any = stub.Watch(health_pb2.HealthCheckRequest(service=EMBED))  # type: ignore[attr-defined]  # missing in the stubs
        assert (await watch.read()).status == states.NOT_SERVING
        async with serving(FakeBackend(), address=address):
            assert (await watch.read()).status == states.SERVING
        assert (await watch.read()).status == states.NOT_SERVING
        assert await router.serves("")
        assert await router.serves("inglenook.router.v1.RouterService")
        assert await router.serves("inglenook.model.v1.ModelService")
        assert not await router.serves("inglenook.chat.v1.ChatService")
        watch.cancel()


async def test_what_is_not_there_yet_says_so(tmp_path: Path) -> None:
    """SendFeedback is in the contract, and not served: UNIMPLEMENTED with NOT_SERVED."""
    async with routed(tmp_path, {}) as router:
        told = await failed(
            router.raw("/inglenook.feedback.v1.FeedbackService/SendFeedback")(b"", timeout=LIMIT_SECONDS)
        )
    assert (told.code, told.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")


async def test_metrics_show_the_state_of_each_backend_and_the_calls(tmp_path: Path) -> None:
    """One gauge is 1 per endpoint; calls that found no backend are counted as what they were."""
    (nobody,) = free_addresses(1)
    async with (
        serving(FakeBackend()) as fake,
        routed(tmp_path, {"embed": [fake.address, nobody]}, metrics=True) as router,
    ):
        await router.raw(f"/{EMBED}/Embed")(b"", timeout=LIMIT_SECONDS)
        await failed(router.raw("/inglenook.rerank.v1.RerankService/Rerank")(b"", timeout=LIMIT_SECONDS))
        samples = await scrape(router.process)
    states = {
        (one.labels["endpoint"], one.labels["state"])
        for one in samples
        if one.name == "inglenook_backend_state" and one.value == 1
    }
    assert states == {(fake.address, "healthy"), (nobody, "unreachable")}
    handled = {
        (one.labels["grpc_method"], one.labels["grpc_code"]): one.value
        for one in samples
        if one.name == "grpc_server_handled_total"
    }
    assert handled["Embed", "OK"] == 1
    assert handled["Rerank", "UNAVAILABLE"] == 1


async def test_reflection_lists_every_service_that_the_router_serves(tmp_path: Path) -> None:
    """Tools like grpcurl find the capabilities, the operators' services, health and reflection itself."""
    async with routed(tmp_path, {}) as router, asyncio.timeout(LIMIT_SECONDS):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(router.channel)  # type: ignore[arg-type]  # typed for sync channels
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([request]))
        response = await answers.read()
        answers.cancel()
    names = {service.name for service in response.list_services_response.service}
    nouns = ("chat", "embed", "rerank", "nli", "model", "router")
    assert names == {
        *(f"inglenook.{noun}.v1.{noun.capitalize()}Service" for noun in nouns),
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_router_whose_backends_are_frozen_from_the_start_still_answers_operators(
    tmp_path: Path,
) -> None:
    """Status never waits for a backend: it tells what is known."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # the kernel takes connections, nobody answers
        address = f"127.0.0.1:{frozen.getsockname()[1]}"
        async with routed(tmp_path, {"embed": [address]}, heard=False) as router:
            assert not of_embed(await status(router)).available
            await router.until_backend(address, UNREACHABLE)


@pytest.mark.parametrize("seconds", [None, LIMIT_SECONDS])
async def test_calls_fail_at_once_when_nobody_listens(tmp_path: Path, seconds: float | None) -> None:
    """With and without a deadline: NO_BACKEND, naming the endpoints and what is wrong with them."""
    (nobody,) = free_addresses(1)
    async with routed(tmp_path, {"embed": [nobody]}) as router, asyncio.timeout(LIMIT_SECONDS):
        told = await failed(router.raw(f"/{EMBED}/Embed")(b"", timeout=seconds))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
    assert nobody in told.message
