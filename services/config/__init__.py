"""Library: `inglenook.toml` as a frozen, typed, validated value, and the secrets it refers to."""

from services.config.configuration import Configuration, ConfigurationFile
from services.config.exposure import exposure
from services.config.keys import hash_of, is_key, new_key
from services.config.load import load
from services.config.problems import ConfigurationInvalid, Problem
from services.config.secrets import Secret, SecretUnavailable, resolve
from services.config.sections.access import Access, Key, Permission
from services.config.sections.base import Capability
from services.config.sections.cache import Cache
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
    ClientTls,
    Service,
    Tls,
    is_literal,
    is_loopback,
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
from services.config.sections.routes import Route, Strategy

__all__ = [
    "OLLAMA_CLOUD",
    "Access",
    "AnthropicProvider",
    "AnyModel",
    "AnyProvider",
    "Backend",
    "Cache",
    "Capability",
    "Channels",
    "Chat",
    "ChatModel",
    "ClientTls",
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
    "Key",
    "Limits",
    "LocalModel",
    "Model",
    "NliModel",
    "OllamaProvider",
    "Paid",
    "Permission",
    "Pooling",
    "Problem",
    "Provider",
    "RemoteEmbedModel",
    "RerankModel",
    "Route",
    "Secret",
    "SecretUnavailable",
    "Service",
    "Shutdown",
    "Strategy",
    "TargetFacts",
    "Telemetry",
    "Tls",
    "exposure",
    "hash_of",
    "is_key",
    "is_literal",
    "is_loopback",
    "join_address",
    "load",
    "new_key",
    "resolve",
    "split_address",
    "split_target",
]
