"""Puts the chat service together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc
from inglenook.chat.v1 import add_ChatServiceServicer_to_server
from inglenook.embed.v1 import add_EmbedServiceServicer_to_server
from inglenook.model.v1 import add_ModelServiceServicer_to_server

from services.chassis.health import OVERALL, Health
from services.chassis.process import Application, Surroundings
from services.chat.answering.attempts import Answering
from services.chat.answering.breaker import Breaker
from services.chat.answering.embedding import Embedding
from services.chat.answering.target import Target
from services.chat.metrics import ChatMetrics, TargetGauges
from services.chat.models import Models
from services.chat.money.budget import Budget
from services.chat.providers.catalog import open_providers
from services.chat.providers.provider import Provider
from services.chat.servicer.chat import ChatServicer
from services.chat.servicer.embed import EmbedServicer
from services.chat.servicer.models import ModelServicer
from services.config import Configuration, ConfigurationFile

CHAT_SERVICE: Final = "inglenook.chat.v1.ChatService"
EMBED_SERVICE: Final = "inglenook.embed.v1.EmbedService"
MODEL_SERVICE: Final = "inglenook.model.v1.ModelService"


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that answers with the providers of a configuration."""
    return ChatApplication(surroundings, file)


class ChatApplication:
    """Answers with models that providers run. Satisfies `chassis.process.Application`.

    It serves from the start, whether or not a provider can be reached: that changes by the minute, and calls
    are told about it.
    """

    def __init__(self, surroundings: Surroundings, file: ConfigurationFile) -> None:
        configuration = file.configuration
        paid = configuration.paid.enabled
        self._configuration = configuration
        self._providers = open_providers(configuration.all_providers(), paid=paid)
        self._models = Models(configuration, self._providers, self._target)
        self._budget = Budget.of(file)
        configured = [target.name for target in self._models.targets]
        metrics = ChatMetrics(surroundings.registry, configured)
        surroundings.registry.register(TargetGauges(lambda: self._models.targets, configured))
        answering = Answering(configuration.chat, paid, self._budget, metrics)
        embedding = Embedding(configuration.chat, paid, self._budget, metrics)
        self._chat = ChatServicer(self._models, answering, metrics)
        self._embed = EmbedServicer(self._models, embedding, configuration.limits)
        self._model = ModelServicer(self._models, paid=paid)

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""
        return (CHAT_SERVICE, EMBED_SERVICE, MODEL_SERVICE)

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicers to the server."""
        add_ChatServiceServicer_to_server(self._chat, server)
        add_EmbedServiceServicer_to_server(self._embed, server)
        add_ModelServiceServicer_to_server(self._model, server)

    async def start(self, health: Health) -> None:
        """Serve; embeddings only if a model for them is configured."""
        for name in (OVERALL, CHAT_SERVICE, MODEL_SERVICE):
            await health.set(name, serving=True)
        await health.set(EMBED_SERVICE, serving=bool(self._models.embed))

    async def stop(self) -> None:
        """Close the connections to providers, and write down what is spent."""
        await asyncio.gather(*(provider.aclose() for provider in self._providers.values()))
        await self._budget.aclose()

    def _target(self, provider: Provider, upstream_model: str) -> Target:
        configuration: Configuration = self._configuration
        breaker = Breaker(configuration.chat, asyncio.get_running_loop().time)
        overrides = configuration.targets.get(f"{provider.name}/{upstream_model}")
        return Target(provider, upstream_model, breaker, overrides)
