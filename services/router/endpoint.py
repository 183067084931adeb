"""One endpoint, watched: what the router knows of a replica, and since when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.channels import endpoint_channel
from services.config import Channels, Limits

RETRY_SECONDS: Final = 0.25


class EndpointState(StrEnum):
    """What a replica says of itself, or that it says nothing."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    NOT_SERVING = "not serving"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What is known of an endpoint.

    Attributes:
        endpoint: `host:port`.
        state: What it says of itself.
        detail: A sentence about the state, for people; empty when it is healthy.
        since: Since when the state has held, in UTC.
    """

    endpoint: str
    state: EndpointState
    detail: str
    since: datetime


class Endpoint:
    """Watches the health of one endpoint over a connection of its own.

    The balanced channel watches health as well, but tells nobody what it sees. Keepalive on this
    connection finds a frozen process within `keepalive_seconds` + `ping_timeout_seconds`; that it does not
    take a new connection either shows a second later.

    Args:
        address: `host:port`.
        service: Full name of the gRPC service whose health counts.
        channels: How connections behave.
        limits: How large messages may be.
        changed: Called after every change of state.
    """

    def __init__(
        self,
        address: str,
        service: str,
        channels: Channels,
        limits: Limits,
        changed: Callable[[], None],
    ) -> None:
        self.channel = endpoint_channel(address, channels, limits)
        self._service = service
        self._changed = changed
        self.status = EndpointStatus(address, EndpointState.UNKNOWN, "not heard of yet", datetime.now(UTC))
        self._watching = asyncio.create_task(self._watch(), name=f"watch-{address}")

    async def close(self) -> None:
        """Stop watching."""
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        await self.channel.close()

    async def _watch(self) -> None:
        health = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service=self._service)
        while True:
            heard = False
            try:
                async for response in health.Watch(request):  # type: ignore[attr-defined]  # missing in the stubs
                    heard = True
                    self._note(*_meaning(response.status))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    self._note(EndpointState.HEALTHY, "")  # answers, but has no health service
                elif not heard:
                    self._note(EndpointState.UNREACHABLE, "nothing answers there")
            # A watch that was heard ends with its connection, and servers end connections now and then so
            # that names are looked up again. Only one that cannot be begun again means that nobody is there.
            await asyncio.sleep(RETRY_SECONDS)

    def _note(self, state: EndpointState, detail: str) -> None:
        if state is self.status.state and detail == self.status.detail:
            return
        since = self.status.since if state is self.status.state else datetime.now(UTC)
        self.status = EndpointStatus(self.status.endpoint, state, detail, since)
        self._changed()


def _meaning(status: int) -> tuple[EndpointState, str]:
    if status == health_pb2.HealthCheckResponse.SERVING:
        return EndpointState.HEALTHY, ""
    if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
        return EndpointState.NOT_SERVING, "answers, but does not have this service"
    return EndpointState.NOT_SERVING, "loading, draining, or without a model that answers"
