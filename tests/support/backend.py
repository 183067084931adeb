"""A backend whose answers are given by the test: real gRPC, real health, any method, bytes in and out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from inglenook.common.v1 import ModelInfo
from inglenook.model.v1 import ListModelsResponse

from services.chassis.status import DETAILS_KEY

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Answer: TypeAlias = Callable[[bytes, Context], Awaitable[bytes]]
StreamAnswer: TypeAlias = Callable[[bytes, Context], AsyncIterator[bytes]]

SERVED_BY = "fake@there:1"
LIST_MODELS = "/inglenook.model.v1.ModelService/ListModels"


async def echo(content: bytes, context: Context) -> bytes:
    """Answer with the request."""
    del context
    return content


async def nothing(content: bytes, context: Context) -> AsyncIterator[bytes]:
    """Answer with an empty stream."""
    del content, context
    for _ in ():
        yield b""


@dataclass
class FakeBackend(grpc.GenericRpcHandler):
    """Answers every method of every service, and remembers what it was asked.

    Attributes:
        unary: Answers methods with one response.
        stream: Answers methods with a stream of responses.
        lists: Answers ListModels, which the router asks by itself now and then; None serves it not at all.
        streaming: Methods that it takes for streaming ones.
        methods: The methods that were called, in order, ListModels left out.
        remaining: How long each call's caller would wait when the call came.
        address: Where it listens.
        health: What it says of itself.
        server: The server that it runs in.
    """

    unary: Answer = echo
    stream: StreamAnswer = nothing
    lists: Answer | None = None
    streaming: Sequence[str] = ("/inglenook.chat.v1.ChatService/Chat",)
    methods: list[str] = field(default_factory=list)
    remaining: list[float | None] = field(default_factory=list)
    address: str = ""
    health: health_aio.HealthServicer = field(default_factory=health_aio.HealthServicer)
    server: grpc.aio.Server | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call, whatever its method."""
        method = handler_call_details.method
        if method.startswith("/grpc."):
            return None  # health is served by its own servicer, if at all
        if method == LIST_MODELS:
            return None if self.lists is None else grpc.unary_unary_rpc_method_handler(self.lists)

        async def unary(content: bytes, context: Context) -> bytes:
            self._note(method, context)
            return await self.unary(content, context)

        async def stream(content: bytes, context: Context) -> AsyncIterator[bytes]:
            self._note(method, context)
            async for response in self.stream(content, context):
                yield response

        if method in self.streaming:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)

    async def say(self, service: str, *, serving: bool) -> None:
        """Say that a service serves, or that it does not."""
        responses = health_pb2.HealthCheckResponse
        await self.health.set(service, responses.SERVING if serving else responses.NOT_SERVING)

    def _note(self, method: str, context: Context) -> None:
        self.methods.append(method)
        self.remaining.append(context.time_remaining())


SERVICES = tuple(
    f"inglenook.{name}.v1.{name.capitalize()}Service" for name in ("chat", "embed", "rerank", "nli")
)


@asynccontextmanager
async def serving(
    backend: FakeBackend,
    *,
    address: str = "127.0.0.1:0",
    options: Sequence[tuple[str, int]] = (),
    healthy: Sequence[str] | None = SERVICES,
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[FakeBackend]:
    """Run `backend`; `healthy` are the services that it says SERVING for, None leaves health out."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options])
    server.add_generic_rpc_handlers((backend,))
    if healthy is not None:
        for service in healthy:
            await backend.say(service, serving=True)
        health_pb2_grpc.add_HealthServicer_to_server(backend.health, server)
    backend.server = server
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    backend.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield backend
    finally:
        await server.stop(0)


async def refuse(context: Context, code: grpc.StatusCode, reason: str) -> None:
    """End a call as a service of ours would: with details, and with who answered."""
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="inglenook", metadata={"models": "a,b"}))
    status = status_pb2.Status(code=int(code.value[0]), message=f"because of {reason}", details=[info])
    trailing = ((DETAILS_KEY, status.SerializeToString()), ("inglenook-served-by", SERVED_BY))
    await context.abort(code, f"because of {reason}", trailing)


def listing(*models: ModelInfo) -> Answer:
    """Return what answers ListModels with these models."""

    async def answer(content: bytes, context: Context) -> bytes:
        del content, context
        return ListModelsResponse(models=models).SerializeToString()

    return answer


@dataclass
class Held:
    """An answer that comes only when the test lets it, and that notices when its caller leaves."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def unary(self, content: bytes, context: Context) -> bytes:
        """Wait, then answer with the request."""
        del context
        self.arrived.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        return content

    async def stream(self, content: bytes, context: Context) -> AsyncIterator[bytes]:
        """Answer with the request, wait, then answer with it again."""
        yield content
        yield await self.unary(content, context)
