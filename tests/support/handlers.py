"""A service whose handlers are given by the test, inside a real service process, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.health import Health
from services.chassis.process import ProcessSettings, ServiceProcess, Surroundings
from services.chassis.testing import FailedCall, read_failure, running
from services.config import ConfigurationFile

SERVICE = "test.v1.TestService"
UNARY = f"/{SERVICE}/Unary"
STREAM = f"/{SERVICE}/Stream"

LIMIT_SECONDS = 20
"""For `asyncio.timeout`: far longer than anything here takes, so that only a hang reaches it."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Unary: TypeAlias = Callable[[StringValue, Context], Awaitable[StringValue]]
Stream: TypeAlias = Callable[[StringValue, Context], AsyncIterator[StringValue]]


async def echo(request: StringValue, context: Context) -> StringValue:
    """Answer with the request."""
    del context
    return request


async def three(request: StringValue, context: Context) -> AsyncIterator[StringValue]:
    """Answer three times with the request."""
    del context
    for _ in range(3):
        yield request


async def say_serving(health: Health) -> None:
    """Start at once."""
    await health.set_all(serving=True)


@dataclass
class HandlerApplication:
    """Serves one unary and one streaming method. Satisfies `chassis.process.Application`."""

    unary: Unary = echo
    stream: Stream = three
    begin: Callable[[Health], Awaitable[None]] = say_serving
    services: Sequence[str] = (SERVICE,)
    stopped: list[bool] = field(default_factory=list)

    def __call__(self, surroundings: Surroundings) -> HandlerApplication:
        """Be what builds the application, too."""
        del surroundings
        return self

    def register(self, server: grpc.aio.Server) -> None:
        """Add the two methods."""
        wire: Any = {
            "request_deserializer": StringValue.FromString,
            "response_serializer": StringValue.SerializeToString,
        }
        unary: Any = grpc.unary_unary_rpc_method_handler(self.unary, **wire)
        stream: Any = grpc.unary_stream_rpc_method_handler(self.stream, **wire)
        handlers = {"Unary": unary, "Stream": stream}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def start(self, health: Health) -> None:
        """Do what the test wants."""
        await self.begin(health)

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Do nothing: it does not go by a configuration."""
        del file
        return ()

    async def stop(self) -> None:
        """Remember that the chassis asked."""
        self.stopped.append(True)


class Client:
    """Calls the two methods over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        wire: Any = {
            "request_serializer": StringValue.SerializeToString,
            "response_deserializer": StringValue.FromString,
        }
        self._unary: Any = channel.unary_unary(UNARY, **wire)
        self._stream: Any = channel.unary_stream(STREAM, **wire)

    def unary(self, text: str = "", **options: Any) -> Any:
        """Begin a call of the unary method."""
        return self._unary(StringValue(value=text), **{"timeout": LIMIT_SECONDS, **options})

    def stream(self, text: str = "", **options: Any) -> Any:
        """Begin a call of the streaming method."""
        return self._stream(StringValue(value=text), **{"timeout": LIMIT_SECONDS, **options})

    def raw(self, method: str, content: bytes = b"", **options: Any) -> Any:
        """Begin a call of any unary method, existing or not, with any bytes."""
        call: Any = self.channel.unary_unary(method)
        return call(content, **{"timeout": LIMIT_SECONDS, **options})


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    """Connect to a service, over a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield Client(channel)


@dataclass(frozen=True)
class Served:
    """A running process and a client that is connected to it."""

    process: ServiceProcess
    client: Client


@asynccontextmanager
async def served(
    application: HandlerApplication | None = None, chosen: ProcessSettings | None = None
) -> AsyncIterator[Served]:
    """Run `application` in a service process and connect to it."""
    async with (
        running(application or HandlerApplication(), chosen) as process,
        connected(process.address) as client,
    ):
        yield Served(process, client)


async def failure(call: Any, received: list[StringValue] | None = None) -> FailedCall:
    """Return how `call`, unary or streaming, fails; responses before that go to `received`."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _ending(call, received)
    return read_failure(raised.value)


async def _ending(call: Any, received: list[StringValue] | None) -> None:
    if not isinstance(call, grpc.aio.UnaryStreamCall):
        await call
        return
    async for response in call:
        if received is not None:
            received.append(response)
