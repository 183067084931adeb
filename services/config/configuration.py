"""The whole of `inglenook.toml` as one frozen value."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from services.config.sections.base import LENIENT, Capability, Name, Section
from services.config.sections.chat import Chat, Paid, TargetFacts
from services.config.sections.engine import Engine, Limits
from services.config.sections.hub import Hub
from services.config.sections.models import AnyModel, TargetName
from services.config.sections.network import Backend, Channels, Services
from services.config.sections.operations import Shutdown, Telemetry
from services.config.sections.providers import AnyProvider, OllamaProvider

DEFAULT_BACKENDS = {
    "chat": Backend(endpoints=("127.0.0.1:50052",)),
    "embed": Backend(endpoints=("127.0.0.1:50053",)),
    "rerank": Backend(endpoints=("127.0.0.1:50054",)),
    "nli": Backend(endpoints=("127.0.0.1:50055",)),
}
"""Backends that a route may name without a `[backends]` table of their own."""


DEFAULT_PROVIDERS = {"ollama": OllamaProvider(type="ollama")}
"""Providers that a target may name without a `[providers]` table of their own."""


def check_route(backends: tuple[str, ...]) -> tuple[str, ...]:
    """Return `backends` if the router can serve them: one, for as long as there is no failover."""
    if len(backends) != 1:
        message = "must name exactly one backend; replicas belong into that backend's endpoints"
        raise ValueError(message)
    return backends


class Configuration(Section):
    """Everything that the file says, defaults filled in."""

    models: dict[Name, AnyModel] = {}
    """The models that callers may name."""
    routes: dict[Capability, Annotated[tuple[Name, ...], LENIENT, AfterValidator(check_route)]] = {}
    """Which backend answers for a capability: a list with one name, of a `[backends]` table or of a
    service. Replicas of one backend are listed in its `endpoints`."""
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
    channels: Channels = Channels()
    """How the router's connections to backends behave."""
    shutdown: Shutdown = Shutdown()
    """What happens between SIGTERM and exit."""
    telemetry: Telemetry = Telemetry()
    """Logs and traces."""

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
