"""Library: `inglenook.toml` as a frozen, typed, validated value, and the secrets it refers to."""

from services.config.configuration import Configuration, ConfigurationFile
from services.config.load import load
from services.config.problems import ConfigurationInvalid, Problem
from services.config.secrets import Secret, SecretUnavailable, resolve
from services.config.sections.base import Capability
from services.config.sections.chat import Chat, Paid, TargetFacts
from services.config.sections.engine import Engine, Limits
from services.config.sections.hub import Hub
from services.config.sections.models import (
    AnyModel,
    ChatModel,
    Effort,
    EmbedModel,
    LocalModel,
    Model,
    NliModel,
    Pooling,
    RemoteEmbedModel,
    RerankModel,
    split_target,
)
from services.config.sections.network import (
    Backend,
    Channels,
    Service,
    is_literal,
    join_address,
    split_address,
)
from services.config.sections.operations import Shutdown, Telemetry
from services.config.sections.providers import (
    OLLAMA_CLOUD,
    AnthropicProvider,
    AnyProvider,
    CloudflareProvider,
    CompatibleProvider,
    GeminiProvider,
    HostedProvider,
    OllamaProvider,
    Provider,
)

__all__ = [
    "OLLAMA_CLOUD",
    "AnthropicProvider",
    "AnyModel",
    "AnyProvider",
    "Backend",
    "Capability",
    "Channels",
    "Chat",
    "ChatModel",
    "CloudflareProvider",
    "CompatibleProvider",
    "Configuration",
    "ConfigurationFile",
    "ConfigurationInvalid",
    "Effort",
    "EmbedModel",
    "Engine",
    "GeminiProvider",
    "HostedProvider",
    "Hub",
    "Limits",
    "LocalModel",
    "Model",
    "NliModel",
    "OllamaProvider",
    "Paid",
    "Pooling",
    "Problem",
    "Provider",
    "RemoteEmbedModel",
    "RerankModel",
    "Secret",
    "SecretUnavailable",
    "Service",
    "Shutdown",
    "TargetFacts",
    "Telemetry",
    "is_literal",
    "join_address",
    "load",
    "resolve",
    "split_address",
    "split_target",
]
