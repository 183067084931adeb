"""Puts the nli service together."""

from __future__ import annotations

import grpc
from inglenook.nli.v1 import add_NliServiceServicer_to_server

from services.chassis.process import Application, Surroundings
from services.config import ConfigurationFile
from services.inference.lifecycle import Registry
from services.inference.loading import nli_recipe
from services.inference.models.nli import EntailmentModel
from services.nli.servicer import NliServicer
from services.serving import EngineApplication, EngineService


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that runs the NLI models of a configuration."""
    limits = file.configuration.limits

    def add_servicer(registry: Registry[EntailmentModel], server: grpc.aio.Server) -> None:
        add_NliServiceServicer_to_server(NliServicer(registry, limits), server)

    service = EngineService("nli", "inglenook.nli.v1.NliService", nli_recipe, add_servicer)
    return EngineApplication(surroundings, file, service)
