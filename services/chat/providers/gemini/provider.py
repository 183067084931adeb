"""Gemini as a provider."""

from __future__ import annotations

from typing import Final

from services.chat.providers.connection import Access, Connection
from services.chat.providers.facts import Facts
from services.chat.providers.gemini.dialect import GeminiDialect
from services.chat.providers.provider import Provider
from services.config import GeminiProvider as Section
from services.config import resolve

FACTS: Final = Facts(tools=True, images=True, json=True, json_schema=True, chat=True)
"""What holds for its Gemini models. The Gemmas that it has as well can less: `[targets.<target>]` says so."""


class GeminiProvider(Provider):
    """Google's Gemini API.

    Args:
        name: Its name in the configuration.
        section: What the configuration says of it.

    Raises:
        SecretUnavailable: Its key cannot be had.
    """

    def __init__(self, name: str, section: Section) -> None:
        keys = {"x-goog-api-key": ("", resolve(section.api_key))}
        access = Access.of(section, section.url, keys)
        super().__init__(name, section, Connection(access), GeminiDialect())

    def price_provider(self, upstream_model: str) -> str:
        """Return what the price list calls it."""
        del upstream_model
        return "google"

    async def facts(self, upstream_model: str) -> Facts:
        """Return what holds for its models; nothing is asked."""
        del upstream_model
        return FACTS
