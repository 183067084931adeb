"""The replicas of one backend: a channel that balances over them, and a watch on each."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from services.chassis.channels import backend_channel
from services.config import Configuration, is_literal, join_address, split_address
from services.router.endpoint import Endpoint, EndpointState, EndpointStatus

LOOKUP_SECONDS: Final = 5.0

UnaryCall: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
StreamCall: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"

log: Final = logging.getLogger(__name__)


class Pool:
    """The replicas of one backend. Belongs to the event loop that it is made in.

    Args:
        name: Name of the backend in the configuration.
        configuration: Where its replicas listen, and how connections behave.
        services: The gRPC services that are called; the health of the first one counts.
        changed: Called after every change of a replica's state.

    Attributes:
        channel: Spreads calls over the healthy replicas and retries those that are safe to retry.
    """

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        services: Sequence[ServiceDescriptor],
        changed: Callable[[], None],
    ) -> None:
        backend, channels, limits = configuration.backend(name), configuration.channels, configuration.limits
        self.name = name
        self.channel: grpc.aio.Channel = backend_channel(backend.endpoints, services, channels, limits)
        self._backend = backend
        self._open: Callable[[str], Endpoint] = lambda address: Endpoint(
            address, services[0].full_name, channels, limits, changed
        )
        self._changed = changed
        self._unary: dict[str, UnaryCall] = {}
        self._stream: dict[str, StreamCall] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._looking_up = asyncio.create_task(self._keep_looking_up(), name=f"look-up-{name}")

    def unary(self, method: str) -> UnaryCall:
        """Return what makes calls of a method with one response, bytes to bytes."""
        call = self._unary.get(method)
        if call is None:
            call = self._unary[method] = self.channel.unary_unary(method)
        return call

    def stream(self, method: str) -> StreamCall:
        """Return what makes calls of a method with a stream of responses, bytes to bytes."""
        call = self._stream.get(method)
        if call is None:
            call = self._stream[method] = self.channel.unary_stream(method)
        return call

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The replicas that are known, by address."""
        return [self._endpoints[address] for address in sorted(self._endpoints)]

    def statuses(self) -> list[EndpointStatus]:
        """Return what is known of each replica, by address."""
        return [endpoint.status for endpoint in self.endpoints]

    @property
    def healthy(self) -> int:
        """How many replicas say that they serve."""
        return sum(status.state is EndpointState.HEALTHY for status in self.statuses())

    def despair(self) -> str:
        """Return why no call can succeed now, or "" if one might.

        A replica that has not been heard of yet might answer; so might all, before the first look-up. And
        the balanced channel, which has connections of its own, may know that a replica is back before the
        watch on it does: what the channel would answer must not be refused here.
        """
        statuses = self.statuses()
        hopeful = {EndpointState.HEALTHY, EndpointState.UNKNOWN}
        if not statuses or any(status.state in hopeful for status in statuses):
            return ""
        if self.channel.get_state() is grpc.ChannelConnectivity.READY:
            return ""
        return "; ".join(f"{status.endpoint} is {status.state}: {status.detail}" for status in statuses)

    async def close(self) -> None:
        """End the watches and the connections."""
        self._looking_up.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking_up
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints.values()))
        await self.channel.close()

    async def _keep_looking_up(self) -> None:
        """Watch the addresses that the backend's name stands for, as they come and go."""
        while True:
            try:
                await self._update(await self._addresses())
            except (OSError, UnicodeError) as error:  # the latter: a name that can be no host's
                log.warning(
                    "a backend's name cannot be looked up", extra={"backend": self.name, "error": str(error)}
                )
            await asyncio.sleep(LOOKUP_SECONDS)

    async def _addresses(self) -> set[str]:
        host, port = split_address(self._backend.endpoints[0])
        if is_literal(host):
            return set(self._backend.endpoints)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return {join_address(f"{entry[4][0]}", port) for entry in found}

    async def _update(self, addresses: set[str]) -> None:
        gone = [self._endpoints.pop(address) for address in self._endpoints.keys() - addresses]
        for new in addresses - self._endpoints.keys():
            self._endpoints[new] = self._open(new)
        if gone:
            self._changed()
            await asyncio.gather(*(endpoint.close() for endpoint in gone))
