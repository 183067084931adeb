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
from services.chat.metrics import ChatMetrics, TargetGauges
from services.chat.servicer.chat import ChatServicer
from services.chat.servicer.embed import EmbedServicer
from services.chat.servicer.models import ModelServicer
from services.chat.wiring import Current, Wiring
from services.config import ConfigurationFile

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
        self._metrics = ChatMetrics(surroundings.registry, ())
        wiring = Wiring(file, self._metrics)
        self._metrics.know(target.name for target in wiring.models.targets)
        self._current = Current(wiring)
        self._open = [wiring]
        self._closing: set[asyncio.Task[None]] = set()
        self._health: Health | None = None
        surroundings.registry.register(TargetGauges(lambda: self._current.wiring.models.targets))
        self._reloader = surroundings.reloader
        self._reloader.begin(file, self.reload)

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""
        return (CHAT_SERVICE, EMBED_SERVICE, MODEL_SERVICE)

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicers to the server."""
        add_ChatServiceServicer_to_server(ChatServicer(self._current, self._metrics), server)
        add_EmbedServiceServicer_to_server(EmbedServicer(self._current), server)
        models = ModelServicer(self._current, lambda: self._reloader.status)
        add_ModelServiceServicer_to_server(models, server)

    async def start(self, health: Health) -> None:
        """Serve; embeddings only if a model for them is configured."""
        self._health = health
        for name in (OVERALL, CHAT_SERVICE, MODEL_SERVICE):
            await health.set(name, serving=True)
        await self._tell_health()

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Answer as another configuration says. Calls in flight keep what they began with.

        But from this moment on they begin nothing any more that costs money, if nothing may.
        """
        before = self._current.wiring
        wiring = Wiring(file, self._metrics, before)  # whatever can fail is in here
        self._metrics.know(target.name for target in wiring.models.targets)
        self._current.wiring = wiring
        wiring.take_over()
        for one in self._open:
            one.yield_to(wiring)
        self._open.append(wiring)
        closing = asyncio.create_task(self._close(before), name="close-old-wiring")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await self._tell_health()
        return ()

    async def stop(self) -> None:
        """Close the connections to providers, and write down what is spent."""
        await asyncio.gather(self._close(self._current.wiring), *self._closing)

    async def _close(self, wiring: Wiring) -> None:
        """Close a wiring when its last call has ended, but for what others have."""
        await wiring.unused()
        self._open.remove(wiring)
        await wiring.close(self._open)

    async def _tell_health(self) -> None:
        if self._health is not None:
            await self._health.set(EMBED_SERVICE, serving=bool(self._current.wiring.models.embed))
