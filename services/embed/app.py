"""Puts the embed service together."""

from __future__ import annotations

import grpc
from inglenook.embed.v1 import add_EmbedServiceServicer_to_server

from services.chassis.process import Application, Surroundings
from services.config import ConfigurationFile
from services.embed.servicer import EmbedServicer
from services.inference.registry import Registry
from services.serving import EngineApplication

SERVICE = "inglenook.embed.v1.EmbedService"


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that runs the embedding models of a configuration."""
    return EngineApplication(surroundings, file, "embed", SERVICE, _add_servicer)


def _add_servicer(registry: Registry, server: grpc.aio.Server) -> None:
    add_EmbedServiceServicer_to_server(EmbedServicer(registry), server)
