"""`[providers.<name>]`: external LLM APIs, local and paid."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from services.config.secrets import SecretReference
from services.config.sections.base import Decides, Refused, Seconds, Section

URL: Final = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?")
MAX_URL_CHARACTERS: Final = 2_000
KEEP_ALIVE: Final = re.compile(r"-?[0-9]+|([0-9]+(\.[0-9]+)?(ms|s|m|h))+")
ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

Tier = Literal["local", "standard", "premium"]
"""local: runs on machines of one's own and costs nothing per call. The others cost money."""

PaidTier = Literal["standard", "premium"]


def check_url(url: str) -> str:
    """Return `url` if it is a base address; a user or a query is refused, with the secret it may hold."""
    try:
        parts = urlsplit(url)
        fine = bool(URL.fullmatch(url) and parts.hostname and parts.port != 0)
    except ValueError:  # a port that is none, brackets that do not match
        fine = False
    if not fine or len(url) > MAX_URL_CHARACTERS:
        message = "must be http:// or https:// with a host, perhaps a port and a path, and nothing else"
        raise Refused(message, "no user and no query; a key belongs into api_key")
    return url


def check_keep_alive(keep_alive: str) -> str:
    """Return `keep_alive` if an Ollama understands it."""
    if not KEEP_ALIVE.fullmatch(keep_alive):
        message = 'must be a time such as "10m" or "1h30m", or a whole number of seconds'
        raise ValueError(message)
    return keep_alive


def check_account(account: str) -> str:
    """Return `account` if it can be part of an address."""
    if not ACCOUNT.fullmatch(account):
        message = "must be letters, digits, _ and -, at most 64"
        raise ValueError(message)
    return account


Url = Annotated[str, AfterValidator(check_url), WithJsonSchema({"type": "string", "format": "url"})]
"""`http://` or `https://`, a host, and perhaps a port and a path. No user, no query: a secret there would
end up in logs."""

OLLAMA_CLOUD: Final = re.compile(r".+[:-]cloud")
"""Ollama's names of models that do not run where the Ollama runs."""

OLLAMA_SERVICE: Final = "ollama.com"
"""Where its makers run models for others."""


class Provider(Section):
    """An external LLM API. `type` says which one; the name is how `targets` refer to it."""

    connect_timeout_seconds: Annotated[Seconds, Field(gt=0)] = 5.0
    """How long it may take to open a connection."""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Most requests to it at a time. Further ones wait."""
    max_waiting_requests: Annotated[int, Field(ge=0, le=100_000)] = 1024
    """Most requests that wait for their turn. Further ones go to the next target or are refused with
    QUEUE_FULL."""


class OllamaProvider(Provider):
    """An Ollama, asked over its own API."""

    type: Literal["ollama"]
    """Which API it speaks."""
    url: Url = "http://127.0.0.1:11434"
    """Where it listens."""
    api_key: SecretReference | None = None
    """Its key, for an Ollama that asks for one, as ollama.com does. Default: none."""
    tier: Annotated[Tier, Field(validate_default=True)] = "local"
    """Whether calls cost money. Its cloud models, whose names end in `:cloud` or `-cloud`, always count as
    paid. Must be set for ollama.com, which is not local."""
    keep_alive: Annotated[str, AfterValidator(check_keep_alive)] | None = None
    """How long a model stays in memory after a call, for example `10m`; a bare number is seconds, a negative
    one for ever. Default: what the Ollama is set to."""
    discover: bool = True
    """List the models that it has, and let callers name them as `<provider>/<model>`."""

    @field_validator("tier")
    @classmethod
    def check_tier(cls, tier: Tier, info: ValidationInfo) -> Tier:
        """Refuse to take the service of Ollama's makers for a machine of one's own, above all by default."""
        host = (urlsplit(info.data.get("url", "")).hostname or "").rstrip(".")  # absent if it is wrong
        if tier == "local" and (host == OLLAMA_SERVICE or host.endswith(f".{OLLAMA_SERVICE}")):
            message = f"is local, but {OLLAMA_SERVICE} is not a machine of one's own"
            raise Refused(message, 'set tier = "standard" or "premium"')
        return tier


class AnthropicProvider(Provider):
    """Anthropic's Messages API."""

    type: Literal["anthropic"]
    """Which API it speaks."""
    url: Url = "https://api.anthropic.com"
    """Where it listens."""
    api_key: SecretReference
    """Its key."""
    tier: PaidTier = "premium"
    """A mark for people; both are paid."""


class GeminiProvider(Provider):
    """Google's Gemini API."""

    type: Literal["gemini"]
    """Which API it speaks."""
    url: Url = "https://generativelanguage.googleapis.com"
    """Where it listens."""
    api_key: SecretReference
    """Its key."""
    tier: PaidTier = "standard"
    """A mark for people; both are paid."""


class HostedProvider(Provider):
    """A service that speaks OpenAI's Chat Completions API, each with its own oddities."""

    type: Literal["openai", "openrouter", "groq", "moonshot", "venice", "together", "huggingface"]
    """Which service it is."""
    url: Url | None = None
    """Where it listens. Default: the service's public address."""
    api_key: SecretReference
    """Its key."""
    tier: PaidTier = "standard"
    """A mark for people; both are paid."""


class CloudflareProvider(Provider):
    """Cloudflare Workers AI."""

    type: Literal["cloudflare"]
    """Which service it is."""
    account_id: Annotated[str, AfterValidator(check_account)]
    """The account that it runs under: letters, digits, `_` and `-`."""
    url: Url = "https://api.cloudflare.com"
    """Where it listens."""
    api_key: SecretReference
    """An API token that may run models."""
    tier: PaidTier = "standard"
    """A mark for people; both are paid."""


class CompatibleProvider(Provider):
    """Any other server that speaks OpenAI's Chat Completions API: vLLM, llama.cpp, LM Studio and so on."""

    type: Literal["openai-compatible"]
    """Which API it speaks."""
    url: Url
    """Base address, up to and including `/v1` or what stands for it."""
    api_key: SecretReference | None = None
    """Its key. Default: none is sent."""
    tier: Tier
    """`local` if calls cost nothing and what is said stays on machines of one's own."""


AnyProvider = Annotated[
    OllamaProvider
    | AnthropicProvider
    | GeminiProvider
    | HostedProvider
    | CloudflareProvider
    | CompatibleProvider,
    Field(discriminator="type"),
    Decides("type"),
]
"""A provider of whichever type its section names."""
