"""Targets with prices, at providers that cannot be called."""

from __future__ import annotations

from services.chat.answering.breaker import Breaker
from services.chat.answering.target import Target
from services.chat.conversation import Conversation, Message, Text
from services.chat.providers.disabled import DisabledProvider
from services.config import Chat, CompatibleProvider, TargetFacts


class Listed(DisabledProvider):
    """A provider that the price list has under some name, or not."""

    def __init__(self, listed_as: str, *, paid: bool) -> None:
        section = CompatibleProvider(
            type="openai-compatible", url="http://127.0.0.1:1/v1", tier="standard" if paid else "local"
        )
        super().__init__("somebody", section)
        self.listed_as = listed_as
        self.paid = paid

    def is_paid(self, upstream_model: str) -> bool:
        """Return what the test says."""
        del upstream_model
        return self.paid

    def price_provider(self, upstream_model: str) -> str:
        """Return what the test says."""
        del upstream_model
        return self.listed_as


def target(
    model: str = "m", listed_as: str = "", overrides: TargetFacts | None = None, *, paid: bool = True
) -> Target:
    """Return a target."""
    breaker = Breaker(Chat(), lambda: 0.0)
    return Target(Listed(listed_as, paid=paid), model, breaker, overrides)


def dollar_target(input_usd: float = 1.0, output_usd: float = 1000.0) -> Target:
    """Return a target whose prices per million tokens are known; a thousand output tokens are a dollar."""
    return target(overrides=TargetFacts(input_usd=input_usd, output_usd=output_usd))


def question(text: str = "Hello", max_output_tokens: int | None = 100) -> Conversation:
    """Return a conversation of one turn."""
    return Conversation((Message("user", (Text(text),)),), max_output_tokens=max_output_tokens)
