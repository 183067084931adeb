"""Replicas of the embed service that answer as a test says, and channels that balance over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, EmbedServiceStub, embed_pb2
from inglenook.feedback.v1 import SendFeedbackRequest, SendFeedbackResponse, feedback_pb2

from services.chassis.channels import backend_channel
from services.chassis.health import Health
from services.chassis.process import Surroundings
from services.config import Channels, Limits

if TYPE_CHECKING:
    from inglenook.embed.v1.embed_pb2_grpc import EmbedServiceAsyncStub  # exists for type checkers only

SERVICES: tuple[ServiceDescriptor, ...] = (
    embed_pb2.DESCRIPTOR.services_by_name["EmbedService"],
    feedback_pb2.DESCRIPTOR.services_by_name["FeedbackService"],
)
EMBED, FEEDBACK = (service.full_name for service in SERVICES)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass
class Replica:
    """Answers Embed, which is safe to retry, and SendFeedback, which is not. An application.

    Attributes:
        answer: Called for every call, with its number, before it is answered; may raise.
        calls: How many there were.
    """

    answer: Callable[[int], Awaitable[None]]
    calls: int = 0
    services: tuple[str, ...] = (EMBED, FEEDBACK)

    def __call__(self, surroundings: Surroundings) -> Replica:
        """Be what builds the application, too."""
        del surroundings
        return self

    def register(self, server: grpc.aio.Server) -> None:
        """Add both methods."""
        embed: Any = grpc.unary_unary_rpc_method_handler(
            self.embed,
            request_deserializer=EmbedRequest.FromString,
            response_serializer=EmbedResponse.SerializeToString,
        )
        feedback: Any = grpc.unary_unary_rpc_method_handler(
            self.feedback,
            request_deserializer=SendFeedbackRequest.FromString,
            response_serializer=SendFeedbackResponse.SerializeToString,
        )
        handlers = (
            grpc.method_handlers_generic_handler(EMBED, {"Embed": embed}),
            grpc.method_handlers_generic_handler(FEEDBACK, {"SendFeedback": feedback}),
        )
        server.add_generic_rpc_handlers(handlers)

    async def start(self, health: Health) -> None:
        """Serve at once."""
        await health.set_all(serving=True)

    async def stop(self) -> None:
        """Do nothing."""

    async def embed(self, request: EmbedRequest, context: Context) -> EmbedResponse:
        """Answer with as many empty embeddings as there are inputs."""
        del context
        await self._count()
        return EmbedResponse(embeddings=[Embedding() for _ in request.inputs])

    async def feedback(self, request: SendFeedbackRequest, context: Context) -> SendFeedbackResponse:
        """Pretend to store it."""
        del context, request
        await self._count()
        return SendFeedbackResponse(feedback_id="1")

    async def _count(self) -> None:
        self.calls += 1
        await self.answer(self.calls)


@asynccontextmanager
async def balanced(
    endpoints: list[str], channels: Channels | None = None, limits: Limits | None = None
) -> AsyncIterator[EmbedServiceAsyncStub]:
    """Connect to replicas as the router does."""
    channel = backend_channel(endpoints, SERVICES, channels or Channels(), limits or Limits())
    async with channel:
        yield EmbedServiceStub(channel)
