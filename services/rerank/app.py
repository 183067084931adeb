"""Puts the rerank service together."""

from __future__ import annotations

import grpc
from inglenook.rerank.v1 import add_RerankServiceServicer_to_server

from services.chassis.process import Application, Surroundings
from services.config import ConfigurationFile
from services.inference.lifecycle import Registry
from services.inference.loading import reranking_recipe
from services.inference.models.reranking import Reranker
from services.rerank.servicer import RerankServicer
from services.serving import EngineApplication, EngineService


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that runs the reranking models of a configuration."""
    limits = file.configuration.limits

    def add_servicer(registry: Registry[Reranker], server: grpc.aio.Server) -> None:
        add_RerankServiceServicer_to_server(RerankServicer(registry, limits), server)

    service = EngineService("rerank", "inglenook.rerank.v1.RerankService", reranking_recipe, add_servicer)
    return EngineApplication(surroundings, file, service)
