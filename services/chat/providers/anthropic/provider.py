"""Anthropic as a provider."""

from __future__ import annotations

from typing import Final

from services.chat.providers.anthropic.dialect import AnthropicDialect
from services.chat.providers.connection import Access, Connection
from services.chat.providers.facts import Facts
from services.chat.providers.provider import Provider
from services.config import AnthropicProvider as Section
from services.config import resolve

VERSION: Final = "2023-06-01"
"""Of the API; it has had no other since."""
FACTS: Final = Facts(tools=True, images=True, json_schema=True, json=False, chat=True)
"""What holds for its models. Some old ones cannot be held to a schema: `[targets.<target>]` says so."""


class AnthropicProvider(Provider):
    """Anthropic's Messages API.

    Args:
        name: Its name in the configuration.
        section: What the configuration says of it.

    Raises:
        SecretUnavailable: Its key cannot be had.
    """

    def __init__(self, name: str, section: Section) -> None:
        keys = {"x-api-key": ("", resolve(section.api_key))}
        access = Access.of(section, section.url, keys, {"anthropic-version": VERSION})
        super().__init__(name, section, Connection(access), AnthropicDialect())

    def price_provider(self, upstream_model: str) -> str:
        """Return what the price list calls it."""
        del upstream_model
        return "anthropic"

    async def facts(self, upstream_model: str) -> Facts:
        """Return what holds for all of its models; nothing is asked."""
        del upstream_model
        return FACTS
