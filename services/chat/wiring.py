"""What one configuration makes of the chat service.

What has not changed is handed on: a provider with its connections, what is known of its models and how its
targets have been doing, and the account of what was spent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

from services.chassis.in_force import InForce, Wired
from services.chat.answering.attempts import Answering
from services.chat.answering.breaker import Breaker
from services.chat.answering.embedding import Embedding
from services.chat.answering.observer import Observer
from services.chat.answering.target import Target
from services.chat.models import Models
from services.chat.money.budget import Budget
from services.chat.providers.catalog import open_providers, reuse
from services.chat.providers.disabled import DisabledProvider
from services.chat.providers.provider import Provider
from services.config import Configuration, ConfigurationFile


class Wiring(Wired):
    """Everything that depends on the configuration. Nothing is connected yet, and nothing changed.

    Args:
        file: The configuration, and where it came from.
        observer: Is told what happens to calls.
        before: What is in force, if anything is.

    Attributes:
        configuration: The configuration.
        providers: Those that targets may name; some of them may be those of `before`.
        budget: What may be spent; it may be that of `before`.
        models: The models that callers may name.
        answering: Answers chats.
        embedding: Answers for embeddings.

    Raises:
        SecretUnavailable: The key of a provider that may be called cannot be had.
        RuntimeError: Paid calls are allowed, and there is no place for the ledger.
    """

    def __init__(self, file: ConfigurationFile, observer: Observer, before: Wiring | None = None) -> None:
        super().__init__()
        self.configuration: Configuration = file.configuration
        chat, self.paid = self.configuration.chat, self.configuration.paid.enabled
        self.budget: Budget = Budget.of(file, None if before is None else before.budget)
        opened = open_providers(self.configuration.all_providers(), paid=self.paid)
        self.providers: dict[str, Provider] = opened if before is None else reuse(opened, before.providers)
        breakers = {} if before is None else before.known_breakers(self.providers.values())
        self._targets = _Targets(self.configuration, breakers)
        self.models = Models(self.configuration, self.providers, self._targets.make)
        self.answering = Answering(chat, self.paid, self.budget, observer)
        self.embedding = Embedding(chat, self.paid, self.budget, observer)

    def take_over(self) -> None:
        """Have what was handed on go by this configuration from now on."""
        self._targets.take_over()
        self.budget.limit(self.configuration.paid.monthly_budget_usd)

    def yield_to(self, heir: Wiring) -> None:
        """Ask nobody any more whom the wiring that is now in force must not ask; what was sent may finish."""
        if not heir.paid:
            self.paid = False
            self.answering.forbid_paid()
            self.embedding.forbid_paid()
        for name, provider in self.providers.items():
            if isinstance(heir.providers.get(name), DisabledProvider):
                provider.forbid()

    def known_breakers(self, providers: Iterable[Provider]) -> dict[tuple[str, str], Breaker]:
        """Return the breakers of the targets of those of `providers` that are this wiring's, too."""
        kept = [one for one in providers if self.providers.get(one.name) is one]
        return {
            key: target.breaker
            for key, target in self.models.known.items()
            if any(target.provider is one for one in kept)
        }

    async def close(self, others: Iterable[Wiring]) -> None:
        """Close what none of the others has: connections to providers, and the ledger once all is written."""
        kept = [provider for other in others for provider in other.providers.values()]
        gone = [one for one in self.providers.values() if not any(one is other for other in kept)]
        await asyncio.gather(*(provider.aclose() for provider in gone))
        if not any(other.budget is self.budget for other in others):
            await self.budget.aclose()


class _Targets:
    """Makes targets. Knows nothing of the wiring: the first one could never be freed if it were in a circle.

    Args:
        configuration: The configuration.
        breakers: Those that are handed on, by provider and model.
    """

    def __init__(self, configuration: Configuration, breakers: dict[tuple[str, str], Breaker]) -> None:
        self._configuration = configuration
        self._breakers = breakers

    def take_over(self) -> None:
        """Have the breakers go by this configuration."""
        for breaker in self._breakers.values():
            breaker.adopt(self._configuration.chat)

    def make(self, provider: Provider, upstream_model: str) -> Target:
        """Return the target for a model; what is known of how it has been doing stays known."""
        key = (provider.name, provider.canonical(upstream_model))
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = Breaker(self._configuration.chat, asyncio.get_running_loop().time)
            self._breakers[key] = breaker
        overrides = self._configuration.targets.get(f"{provider.name}/{upstream_model}")
        return Target(provider, upstream_model, breaker, overrides)


Current: TypeAlias = InForce[Wiring]
"""The wiring in force."""
