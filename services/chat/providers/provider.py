"""A provider: a dialect, a connection, and what is known of its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chat.answer import Usage
from services.chat.providers.connection import Connection
from services.chat.providers.dialect import Ask, Dialect
from services.chat.providers.exchange import Exchange, Timers
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure, FailureKind
from services.config import AnyProvider

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model that a provider says it has."""

    name: str
    facts: Facts = UNKNOWN
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings in the order of their inputs, as the provider sent them."""

    vectors: Sequence[Sequence[float]]
    usage: Usage


class Provider:
    """An external LLM API as the configuration names it.

    This class is what they have in common; a provider with more to say overrides it.

    Args:
        name: Its name in the configuration.
        section: What the configuration says of it.
        connection: Requests go through it. The provider closes it.
        dialect: Its language.

    Attributes:
        name, section: As given.
    """

    def __init__(self, name: str, section: AnyProvider, connection: Connection, dialect: Dialect) -> None:
        self.name = name
        self.section = section
        self.connection = connection
        self.dialect = dialect

    def is_paid(self, upstream_model: str) -> bool:
        """Whether calls of a model cost money, or what is said in them leaves the house."""
        del upstream_model
        return self.section.tier != LOCAL

    def canonical(self, upstream_model: str) -> str:
        """Return what all ways to write the name of one model have in common, to compare them by."""
        return upstream_model

    def price_provider(self, upstream_model: str) -> str:
        """Return what the price list calls the provider of a model; empty if it is not on it."""
        del upstream_model
        return ""

    def exchange(self, ask: Ask, timers: Timers, new_id: Callable[[int], str]) -> Exchange:
        """Return the exchange that asks for an answer; nothing is sent before it is entered."""
        return Exchange(self.connection, self.dialect, ask, timers, new_id)

    async def facts(self, upstream_model: str) -> Facts:
        """Return what is known of a model, from the provider itself where it tells.

        Raises:
            Failure: The provider had to be asked and did not answer, or has no such model.
        """
        del upstream_model
        return UNKNOWN

    async def check(self, upstream_model: str) -> None:
        """Return if the model could be called now, as far as can be found out without calling it.

        Raises:
            Failure: It could not; the message says why.
        """
        del upstream_model

    async def models(self) -> Sequence[UpstreamModel]:
        """Return the models that callers may name without the configuration naming them.

        Raises:
            Failure: The provider did not answer.
        """
        return ()

    async def embed(
        self, upstream_model: str, inputs: Sequence[str], dimensions: int | None, timeout_seconds: float
    ) -> Embeddings:
        """Embed texts.

        Args:
            upstream_model: The model at this provider.
            inputs: The texts, at least one.
            dimensions: Shorten embeddings to so many components; None for all.
            timeout_seconds: How long it may take.

        Raises:
            Failure: There are no embeddings; NOT_SUPPORTED if this provider has none at all.
        """
        del upstream_model, inputs, dimensions, timeout_seconds
        raise Failure(FailureKind.NOT_SUPPORTED, "this provider has no embeddings that could be asked for")

    def is_like(self, other: Provider) -> bool:
        """Return whether another one is asked in the same way, with the same key."""
        return (
            type(self) is type(other)
            and self.section == other.section
            and self.connection.access == other.connection.access
        )

    def forbid(self) -> None:
        """Send it nothing any more; what was sent may be answered."""
        self.connection.forbid()

    async def aclose(self) -> None:
        """Close its connections."""
        await self.connection.aclose()


Providers = Mapping[str, Provider]
