"""One model at one provider, as calls share it."""

from __future__ import annotations

from services.chat.answering.breaker import Breaker
from services.chat.providers.facts import Facts
from services.chat.providers.provider import Provider
from services.config import TargetFacts


class Target:
    """One model at one provider. Lives as long as its provider does and is shared by all calls.

    Args:
        provider: The provider.
        upstream_model: The model there.
        breaker: Remembers how it has been doing.
        overrides: What the configuration says of it; goes before what the provider says.

    Attributes:
        provider, upstream_model, breaker, overrides: As given.
        name: `provider/upstream_model`.
    """

    def __init__(
        self,
        provider: Provider,
        upstream_model: str,
        breaker: Breaker,
        overrides: TargetFacts | None = None,
    ) -> None:
        self.provider = provider
        self.upstream_model = upstream_model
        self.breaker = breaker
        self.overrides = overrides or TargetFacts()
        self.name = f"{provider.name}/{upstream_model}"

    @property
    def is_paid(self) -> bool:
        """Whether its calls cost money or leave the house, as far as is known without asking its provider."""
        return self.provider.is_paid(self.upstream_model)

    async def facts(self) -> Facts:
        """Return what is known of it.

        Raises:
            Failure: The provider had to be asked and did not answer, or has no such model.
        """
        return self.configured(await self.provider.facts(self.upstream_model))

    def configured(self, facts: Facts) -> Facts:
        """Return `facts` with what the configuration says in their place."""
        said = self.overrides
        return facts.overwritten(
            Facts(
                context_length=said.context_length,
                tools=said.tools,
                images=said.images,
                reasoning=said.reasoning,
                json_schema=said.json_schema,
            )
        )
