"""The whole of `inglenook.toml` as one frozen value."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import field_validator

from services.config.sections.access import Access
from services.config.sections.base import Capability, Name, Section
from services.config.sections.cache import Cache
from services.config.sections.chat import Chat, Paid, TargetFacts
from services.config.sections.engine import Engine, Limits
from services.config.sections.hub import Hub
from services.config.sections.models import AnyModel, TargetName
from services.config.sections.network import Backend, Channels, Services
from services.config.sections.operations import Shutdown, Telemetry
from services.config.sections.providers import AnyProvider, OllamaProvider
from services.config.sections.routes import Route

DEFAULT_BACKENDS = {
    "chat": Backend(endpoints=("127.0.0.1:50052",)),
    "embed": Backend(endpoints=("127.0.0.1:50053",)),
    "rerank": Backend(endpoints=("127.0.0.1:50054",)),
    "nli": Backend(endpoints=("127.0.0.1:50055",)),
}
"""Backends that a route may name without a `[backends]` table of their own."""


DEFAULT_PROVIDERS = {"ollama": OllamaProvider(type="ollama")}
"""Providers that a target may name without a `[providers]` table of their own."""


class Configuration(Section):
    """Everything that the file says, defaults filled in."""

    models: dict[Name, AnyModel] = {}
    """The models that callers may name."""
    routes: dict[Capability, Route] = {}
    """Which backends answer for a capability: `embed = ["embed"]`, or a table that says more."""
    backends: dict[Name, Backend] = {}
    """Where backends listen. `chat`, `embed`, `rerank` and `nli` need no table while they listen on
    their standard ports on this machine."""
    services: Services = Services()
    """Where each service listens."""
    providers: dict[Name, AnyProvider] = {}
    """External LLM APIs that targets may name. `ollama` needs no table while it listens on its standard port
    on this machine."""
    targets: dict[TargetName, TargetFacts] = {}
    """What is known of single targets."""
    chat: Chat = Chat()
    """How the chat service treats the targets of chat models."""
    paid: Paid = Paid()
    """Money."""
    engine: Engine = Engine()
    """How models are run."""
    hub: Hub = Hub()
    """How models are fetched from the Hugging Face Hub."""
    limits: Limits = Limits()
    """How much is accepted."""
    cache: Cache = Cache()
    """Which answers the router keeps."""
    access: Access = Access()
    """Who may call the router."""
    channels: Channels = Channels()
    """How the router's connections to backends behave."""
    shutdown: Shutdown = Shutdown()
    """What happens between SIGTERM and exit."""
    telemetry: Telemetry = Telemetry()
    """Logs and traces."""

    @field_validator("routes", mode="before")
    @classmethod
    def read_short_routes(cls, routes: Any) -> Any:
        """Take a list of backends for a table that says nothing else."""
        if not isinstance(routes, dict):
            return routes
        return {
            name: {"backends": route} if isinstance(route, list | tuple) else route
            for name, route in routes.items()
        }

    def backend(self, name: str) -> Backend:
        """Return the backend called `name`; a name that validation let through always exists."""
        return self.backends.get(name) or DEFAULT_BACKENDS[name]

    def all_providers(self) -> dict[str, AnyProvider]:
        """Return the providers by name, the ones that need no table included."""
        return {**DEFAULT_PROVIDERS, **self.providers}


class ConfigurationFile(Section):
    """A configuration and where it came from."""

    path: Path
    """The file, as an absolute path."""
    sha256: str
    """SHA-256 of the file, lowercase hex."""
    loaded_at: datetime
    """When it was read, in UTC."""
    configuration: Configuration
    """What it says."""
