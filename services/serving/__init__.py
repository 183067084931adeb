"""Library: what the services that run models have in common.

It joins the two libraries that must not know each other: the chassis, which knows gRPC and no model, and
inference, which knows models and no gRPC.
"""

from services.serving.application import EngineApplication, EngineService

__all__ = ["EngineApplication", "EngineService"]
