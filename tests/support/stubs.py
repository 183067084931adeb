"""The stubs of the whole contract over one channel, and what tests ask a router again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from inglenook.chat.v1 import ChatServiceStub
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, EmbedServiceStub
from inglenook.model.v1 import ModelServiceStub
from inglenook.nli.v1 import NliServiceStub
from inglenook.rerank.v1 import RerankServiceStub
from inglenook.router.v1 import Backend, BackendState, ListBackendsRequest, RouterServiceStub

from services.chassis.testing import FailedCall, read_failure
from tests.support.polling import until

if TYPE_CHECKING:  # these names exist for type checkers only
    from inglenook.chat.v1.chat_pb2_grpc import ChatServiceAsyncStub
    from inglenook.embed.v1.embed_pb2_grpc import EmbedServiceAsyncStub
    from inglenook.model.v1.model_pb2_grpc import ModelServiceAsyncStub
    from inglenook.nli.v1.nli_pb2_grpc import NliServiceAsyncStub
    from inglenook.rerank.v1.rerank_pb2_grpc import RerankServiceAsyncStub
    from inglenook.router.v1.router_pb2_grpc import RouterServiceAsyncStub

LIMIT_SECONDS = 20.0
"""For calls and waits: far longer than anything here takes, so that only a hang reaches it."""

OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
"""Options of a channel that no other test's channel shares a connection with."""


@dataclass(frozen=True)
class Stubs:
    """Calls a process over `channel`."""

    channel: grpc.aio.Channel

    @property
    def embed(self) -> EmbedServiceAsyncStub:
        """Calls EmbedService."""
        return EmbedServiceStub(self.channel)

    @property
    def chat(self) -> ChatServiceAsyncStub:
        """Calls ChatService."""
        return ChatServiceStub(self.channel)

    @property
    def rerank(self) -> RerankServiceAsyncStub:
        """Calls RerankService."""
        return RerankServiceStub(self.channel)

    @property
    def nli(self) -> NliServiceAsyncStub:
        """Calls NliService."""
        return NliServiceStub(self.channel)

    @property
    def models(self) -> ModelServiceAsyncStub:
        """Calls ModelService."""
        return ModelServiceStub(self.channel)

    @property
    def router(self) -> RouterServiceAsyncStub:
        """Calls RouterService."""
        return RouterServiceStub(self.channel)

    async def ask(self, request: EmbedRequest) -> EmbedResponse:
        """Return the answer to an Embed call."""
        return await self.embed.Embed(request, timeout=LIMIT_SECONDS)

    async def refusal(self, request: EmbedRequest, seconds: float | None = LIMIT_SECONDS) -> FailedCall:
        """Return how an Embed call fails."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.embed.Embed(request, timeout=seconds)
        return read_failure(raised.value)

    async def backends(self) -> list[Backend]:
        """Return what the router says about its backends."""
        response = await self.router.ListBackends(ListBackendsRequest(), timeout=LIMIT_SECONDS)
        return list(response.backends)

    async def until_backend(self, endpoint: str, state: BackendState.ValueType) -> Backend:
        """Wait until the router says that an endpoint is in a state."""

        async def look() -> Backend | None:
            found = [one for one in await self.backends() if one.endpoint == endpoint]
            return found[0] if found and found[0].state == state else None

        backend = await until(look)
        assert backend is not None
        return backend

    async def serves(self, service: str) -> bool:
        """Say whether the process's health for a service is SERVING."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service=service)
        response = await stub.Check(request, timeout=LIMIT_SECONDS)  # type: ignore[attr-defined]  # missing in the stubs
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)
