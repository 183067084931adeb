"""Puts the embed service together."""

from __future__ import annotations

import grpc
from inglenook.embed.v1 import add_EmbedServiceServicer_to_server

from services.chassis.process import Application, Surroundings
from services.config import ConfigurationFile
from services.embed.servicer import EmbedServicer
from services.inference.lifecycle import Registry
from services.inference.loading import embedding_recipe
from services.inference.models.embedding import EmbeddingModel
from services.serving import EngineApplication, EngineService


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that runs the embedding models of a configuration."""
    service = EngineService("embed", "inglenook.embed.v1.EmbedService", embedding_recipe, _add_servicer)
    return EngineApplication(surroundings, file, service)


def _add_servicer(registry: Registry[EmbeddingModel], server: grpc.aio.Server) -> None:
    add_EmbedServiceServicer_to_server(EmbedServicer(registry), server)
