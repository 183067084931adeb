"""Replicas of the embed service that answer as a test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, embed_pb2
from inglenook.feedback.v1 import SendFeedbackRequest, SendFeedbackResponse, feedback_pb2

from services.chassis.health import Health
from services.chassis.process import Surroundings
from services.config import ConfigurationFile

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

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Do nothing: it does not go by a configuration."""
        del file
        return ()

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
