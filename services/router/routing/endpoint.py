"""One replica: its connection, what it says of itself, and how its calls go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.channels import endpoint_channel
from services.chassis.tasks import end
from services.chassis.tls import Secured
from services.config import Capability, Channels, Limits
from services.router.capabilities import SERVICES
from services.router.routing.catalog import Catalog
from services.router.routing.ejection import Ejection, Standing
from services.router.routing.measures import Latencies

log: Final = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.25
LOAD_HALF_LIFE_SECONDS: Final = 2.5
"""A load that was reported so long ago counts half: without calls there are no reports, and without believing
that it has gone down there would be no calls."""

READY: Final = grpc.ChannelConnectivity.READY

UnaryCall: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
StreamCall: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"


class EndpointState(StrEnum):
    """What a replica says of itself, or that it says nothing, or what its calls say against it."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    NOT_SERVING = "not serving"
    UNREACHABLE = "unreachable"
    EJECTED = "ejected"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What is known of an endpoint.

    Attributes:
        endpoint: `host:port`.
        state: How it is treated.
        detail: A sentence about the state, for people; empty when it is healthy.
        since: Since when the state has held, in UTC.
    """

    endpoint: str
    state: EndpointState
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """What all endpoints of a backend have in common.

    Attributes:
        capability: What they are asked for; the health of its service counts.
        channels: How connections behave, and what ejects.
        limits: How large messages may be.
        changed: Called after every change of state.
        ejected: Called with the address of an endpoint after it was ejected.
        secured: Returns what a new connection to an address needs to speak TLS; None for plain text.
        clock: Tells the time in seconds.
    """

    capability: Capability
    channels: Channels
    limits: Limits
    changed: Callable[[], None] = lambda: None
    ejected: Callable[[str], None] = lambda _: None
    secured: Callable[[str], Secured | None] = lambda _: None
    clock: Callable[[], float] = time.monotonic


class Endpoint:
    """One replica. Watches its health over the connection that its calls take.

    Keepalive on this connection finds a frozen process within `keepalive_seconds` + `ping_timeout_seconds`;
    that it does not take a new connection either shows a second later.

    Args:
        address: `host:port`.
        terms: What it has in common with the other endpoints of its backend.
        may_eject: Says whether the others can do without it.

    Attributes:
        address: `host:port`.
        calls_in_flight: Calls that it has not answered yet.
        latencies: How long its latest answers took.
        ejection: How its calls ended.
        catalog: The models that it has.
    """

    def __init__(
        self, address: str, terms: Terms, may_eject: Callable[[Endpoint], bool] = lambda _: False
    ) -> None:
        self.address = address
        self.calls_in_flight = 0
        self.latencies = Latencies()
        self._terms = terms
        self._channel = self._connect()
        self._unary: dict[str, UnaryCall] = {}
        self._stream: dict[str, StreamCall] = {}
        self._load: tuple[float, float] | None = None
        self._told = EndpointStatus(address, EndpointState.UNKNOWN, "not heard of yet", datetime.now(UTC))
        self.ejection = Ejection(terms.channels, terms.clock, lambda: may_eject(self), self._note_standing)
        self.catalog = Catalog(terms.capability, lambda: self._channel, lambda: self.serves)
        self._watching = self._begin_watch()

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to it."""
        return self._channel

    @property
    def status(self) -> EndpointStatus:
        """What is known of it. What it says of itself goes before what its calls say."""
        standing = self.ejection.standing
        if self._told.state is not EndpointState.HEALTHY or standing is Standing.HEALTHY:
            return self._told
        return EndpointStatus(
            self.address, EndpointState(standing.value), self.ejection.detail, self.ejection.since
        )

    @property
    def serves(self) -> bool:
        """Whether it says that it serves."""
        return self._told.state is EndpointState.HEALTHY

    @property
    def is_healthy(self) -> bool:
        """Whether it says that it serves, and its calls say nothing else."""
        return self.serves and self.ejection.standing is Standing.HEALTHY

    @property
    def told_state(self) -> EndpointState:
        """What it says of itself."""
        return self._told.state

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._channel.get_state() is READY

    @property
    def load(self) -> float | None:
        """The load that it last reported, weighed by how long ago that was; None if it reports none."""
        if self._load is None:
            return None
        told, at = self._load
        return float(told * 0.5 ** ((self._terms.clock() - at) / LOAD_HALF_LIFE_SECONDS))

    @property
    def median_latency(self) -> float | None:
        """The median of its latest latencies, in seconds; None before the first."""
        return self.latencies.median

    @property
    def reported_load(self) -> float | None:
        """The load that it last reported, as it was."""
        return None if self._load is None else self._load[0]

    def note_load(self, load: float | None) -> None:
        """Note the load that came with an answer, if one did."""
        if load is not None:
            self._load = (load, self._terms.clock())

    def unary(self, method: str) -> UnaryCall:
        """Return what makes calls of a method with one response, bytes to bytes."""
        call = self._unary.get(method)
        if call is None:
            call = self._unary[method] = self._channel.unary_unary(method)
        return call

    def stream(self, method: str) -> StreamCall:
        """Return what makes calls of a method with a stream of responses, bytes to bytes."""
        call = self._stream.get(method)
        if call is None:
            call = self._stream[method] = self._channel.unary_stream(method)
        return call

    async def connected(self, timeout_seconds: float) -> bool:
        """Wait until there is a connection; return False if it cannot be made, or not in time."""
        channel = self._channel
        with suppress(TimeoutError, grpc.aio.UsageError):  # the latter: it was closed meanwhile
            async with asyncio.timeout(timeout_seconds):
                while (state := channel.get_state(try_to_connect=True)) is not READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        return False
                    await channel.wait_for_state_change(state)
        return channel.get_state() is READY

    async def renew(self, grace_seconds: float) -> None:
        """Go on over a new connection; calls that are on the old one get so long to end."""
        old, self._channel = self._channel, self._connect()
        self._unary, self._stream = {}, {}
        watching, self._watching = self._watching, self._begin_watch()
        await end(watching)
        await old.close(grace_seconds)

    async def close(self, grace_seconds: float | None = None) -> None:
        """Stop watching, and end the connection; calls that are on it get so long to end."""
        await end(self._watching)
        await self.catalog.close()
        await self._channel.close(grace_seconds)

    def _connect(self) -> grpc.aio.Channel:
        terms = self._terms
        return endpoint_channel(self.address, terms.channels, terms.limits, terms.secured(self.address))

    def _begin_watch(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._watch(), name=f"watch-{self.address}")

    async def _watch(self) -> None:
        health = health_pb2_grpc.HealthStub(self._channel)
        request = health_pb2.HealthCheckRequest(service=SERVICES[self._terms.capability].full_name)
        while True:
            heard = False
            try:
                async for response in health.Watch(request):  # type: ignore[attr-defined]  # missing in the stubs
                    if not heard:
                        self.catalog.doubt()  # a new watch may be one of a new process
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
        before = self._told
        if state is before.state and detail == before.detail:
            return
        since = before.since if state is before.state else datetime.now(UTC)
        self._told = EndpointStatus(self.address, state, detail, since)
        if state is not before.state:
            level = logging.WARNING if state is EndpointState.UNREACHABLE else logging.INFO
            facts = {"endpoint": self.address, "capability": self._terms.capability}
            log.log(level, "an endpoint is %s", state.value, extra={**facts, "before": before.state.value})
        if state is not before.state and state is EndpointState.HEALTHY:
            self.catalog.doubt()
            if before.state is EndpointState.UNREACHABLE:
                self.ejection.forgive()
        self._terms.changed()

    def _note_standing(self, standing: Standing) -> None:
        if standing is Standing.EJECTED:
            log.warning(
                "an endpoint is ejected", extra={"endpoint": self.address, "why": self.ejection.detail}
            )
            self._terms.ejected(self.address)
        elif self._told.state is EndpointState.HEALTHY:  # it has been healthy since now
            self._told = EndpointStatus(self.address, EndpointState.HEALTHY, "", self.ejection.since)
        self._terms.changed()


def _meaning(status: int) -> tuple[EndpointState, str]:
    if status == health_pb2.HealthCheckResponse.SERVING:
        return EndpointState.HEALTHY, ""
    if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
        return EndpointState.NOT_SERVING, "answers, but does not have this service"
    return EndpointState.NOT_SERVING, "loading, draining, or without a model that answers"
