"""A provider that must not be called: its key is not read, and it has no connection that could be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from services.chat.providers.dialect import Ask
from services.chat.providers.exchange import Exchange, Timers
from services.chat.providers.failure import DO_NOT_RETRY, Failure, FailureKind
from services.chat.providers.provider import Embeddings, Provider
from services.config import AnyProvider

PAID_IS_OFF: Final = "it costs money, and [paid] enabled is false"


class DisabledProvider(Provider):
    """Stands in the place of a paid provider as long as nothing paid may be called."""

    def __init__(self, name: str, section: AnyProvider) -> None:
        # Deliberately not the base's: without a connection nothing can be sent, whoever asks.
        self.name = name
        self.section = section

    def is_paid(self, upstream_model: str) -> bool:
        """Return that it is."""
        del upstream_model
        return True

    def exchange(self, ask: Ask, timers: Timers, new_id: Callable[[int], str]) -> Exchange:
        """Refuse."""
        del ask, timers, new_id
        _refuse()

    async def check(self, upstream_model: str) -> None:
        """Refuse."""
        del upstream_model
        _refuse()

    async def embed(
        self, upstream_model: str, inputs: Sequence[str], dimensions: int | None, timeout_seconds: float
    ) -> Embeddings:
        """Refuse."""
        del upstream_model, inputs, dimensions, timeout_seconds
        _refuse()

    def is_like(self, other: Provider) -> bool:
        """Return whether another one is disabled as well."""
        return isinstance(other, DisabledProvider) and self.section == other.section

    def forbid(self) -> None:
        """Do nothing: it is."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


def _refuse() -> NoReturn:
    raise Failure(FailureKind.AUTHENTICATION, PAID_IS_OFF, DO_NOT_RETRY)
