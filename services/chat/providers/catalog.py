"""From the configuration to providers: which dialect, which address, which headers."""

from __future__ import annotations

from collections.abc import Mapping

from services.chat.providers.anthropic.provider import AnthropicProvider
from services.chat.providers.disabled import DisabledProvider
from services.chat.providers.gemini.provider import GeminiProvider
from services.chat.providers.ollama.provider import OllamaProvider
from services.chat.providers.openai.provider import OpenAiProvider
from services.chat.providers.provider import LOCAL, Provider
from services.config import AnthropicProvider as AnthropicSection
from services.config import AnyProvider
from services.config import GeminiProvider as GeminiSection
from services.config import OllamaProvider as OllamaSection


def open_providers(sections: Mapping[str, AnyProvider], *, paid: bool) -> dict[str, Provider]:
    """Return the providers of a configuration by name. Nothing is connected yet.

    Args:
        sections: What the configuration says of each.
        paid: Whether providers that cost money may be called. If not, their keys need not exist.

    Raises:
        SecretUnavailable: The key of a provider that may be called cannot be had.
    """
    return {
        name: open_provider(name, section)
        if paid or section.tier == LOCAL
        else DisabledProvider(name, section)
        for name, section in sections.items()
    }


def reuse(opened: Mapping[str, Provider], before: Mapping[str, Provider]) -> dict[str, Provider]:
    """Return the providers of a new configuration; for those that are like before, the ones from before.

    So their connections stay open. Those that are left out have sent nothing: there is nothing to close.
    """
    return {
        name: before[name] if name in before and provider.is_like(before[name]) else provider
        for name, provider in opened.items()
    }


def open_provider(name: str, section: AnyProvider) -> Provider:
    """Return one provider."""
    if isinstance(section, OllamaSection):
        return OllamaProvider(name, section)
    if isinstance(section, AnthropicSection):
        return AnthropicProvider(name, section)
    if isinstance(section, GeminiSection):
        return GeminiProvider(name, section)
    return OpenAiProvider(name, section)
