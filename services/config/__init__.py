"""Library: `inglenook.toml` as a frozen, typed, validated value, and the secrets it refers to."""

from services.config.configuration import Configuration, ConfigurationFile
from services.config.load import load
from services.config.problems import ConfigurationInvalid, Problem
from services.config.secrets import Secret, SecretUnavailable, resolve
from services.config.sections.base import Capability
from services.config.sections.engine import Engine, Limits
from services.config.sections.hub import Hub
from services.config.sections.models import AnyModel, EmbedModel, Model, NliModel, Pooling, RerankModel
from services.config.sections.network import (
    Backend,
    Channels,
    Service,
    is_literal,
    join_address,
    split_address,
)
from services.config.sections.operations import Shutdown, Telemetry

__all__ = [
    "AnyModel",
    "Backend",
    "Capability",
    "Channels",
    "Configuration",
    "ConfigurationFile",
    "ConfigurationInvalid",
    "EmbedModel",
    "Engine",
    "Hub",
    "Limits",
    "Model",
    "NliModel",
    "Pooling",
    "Problem",
    "RerankModel",
    "Secret",
    "SecretUnavailable",
    "Service",
    "Shutdown",
    "Telemetry",
    "is_literal",
    "join_address",
    "load",
    "resolve",
    "split_address",
]
