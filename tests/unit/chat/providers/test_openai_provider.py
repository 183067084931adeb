"""Addresses, price lists and facts of the services that speak Chat Completions."""

from __future__ import annotations

import asyncio

import pytest

from services.chat.providers.openai.provider import OpenAiProvider, base_url
from services.chat.providers.openai.sheets import SHEETS
from services.config import CloudflareProvider, CompatibleProvider, HostedProvider

KEY = "env:OPENAI_PROVIDER_TEST_KEY"


def hosted(kind: str, url: str | None = None) -> HostedProvider:
    """Return the section of a hosted service."""
    return HostedProvider.model_validate({"type": kind, "url": url, "api_key": KEY})


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("openai", "https://api.openai.com/v1"),
        ("openrouter", "https://openrouter.ai/api/v1"),
        ("groq", "https://api.groq.com/openai/v1"),
        ("moonshot", "https://api.moonshot.ai/v1"),
        ("venice", "https://api.venice.ai/api/v1"),
        ("together", "https://api.together.xyz/v1"),
        ("huggingface", "https://router.huggingface.co/v1"),
    ],
)
def test_services_have_their_public_address(kind: str, url: str) -> None:
    """It is used where the configuration names none."""
    assert base_url(hosted(kind)) + SHEETS[kind].version_path == url


@pytest.mark.parametrize("url", ["http://a/v1", "http://a/v1/"])
def test_a_configured_address_goes_before_it(url: str) -> None:
    """With a slash at its end or without."""
    assert base_url(hosted("moonshot", url)) == "http://a/v1"
    assert base_url(CompatibleProvider(type="openai-compatible", url=url, tier="local")) == "http://a/v1"
    assert base_url(hosted("huggingface", url)) == "http://a"


def test_cloudflare_has_the_account_in_its_address() -> None:
    """The key is not in it."""
    section = CloudflareProvider(type="cloudflare", account_id="a1", api_key=KEY)
    assert base_url(section) == "https://api.cloudflare.com/client/v4/accounts/a1/ai/v1"


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("openai", "gpt-5", "openai"),
        ("moonshot", "kimi-k2.6", "moonshotai"),
        ("venice", "m", ""),
        ("huggingface", "org/name:groq", "huggingface_groq"),
        ("huggingface", "org/name:fastest", ""),
        ("huggingface", "org/name", ""),
    ],
)
def test_the_price_list_has_its_own_names(
    monkeypatch: pytest.MonkeyPatch, kind: str, model: str, expected: str
) -> None:
    """At Hugging Face, prices are known once the model names the provider behind the router."""
    monkeypatch.setenv("OPENAI_PROVIDER_TEST_KEY", "k")
    provider = OpenAiProvider("mine", hosted(kind))
    assert provider.price_provider(model) == expected
    asyncio.run(provider.aclose())


@pytest.mark.parametrize(
    ("kind", "model", "json_schema"),
    [
        ("openai", "gpt-3.5-turbo", False),
        ("openai", "gpt-5", None),
        ("groq", "llama-3.3-70b-versatile", False),
        ("groq", "openai/gpt-oss-20b", True),
        ("openai-compatible", "anything", None),
    ],
)
def test_facts_are_those_of_the_documentation(kind: str, model: str, json_schema: bool | None) -> None:
    """What it does not say is unknown."""
    assert SHEETS[kind].facts(model).json_schema is json_schema
