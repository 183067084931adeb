"""OpenAI and everything that speaks like it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from services.chat.providers.connection import Access, Connection
from services.chat.providers.dialect import Outgoing
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.openai.dialect import OpenAiDialect
from services.chat.providers.openai.embeddings import (
    embeddings_of,
    embeddings_request,
    features_of,
    features_request,
)
from services.chat.providers.openai.errors import reported_failure
from services.chat.providers.openai.sheets import SHEETS
from services.chat.providers.provider import Embeddings, Provider
from services.config import CloudflareProvider, CompatibleProvider, HostedProvider, resolve

MODELS_PATH: Final = "/models"
CHECK_SECONDS: Final = 5.0
NO_LIST: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
"""How servers say that they have no list of models."""

POLICIES: Final = frozenset({"", "fastest", "cheapest", "preferred"})
"""Ways to let Hugging Face's router choose the provider; who it chooses is not known before."""

Section = HostedProvider | CloudflareProvider | CompatibleProvider


class OpenAiProvider(Provider):
    """A service or server that speaks Chat Completions.

    Args:
        name: Its name in the configuration.
        section: What the configuration says of it.

    Raises:
        SecretUnavailable: Its key cannot be had.
    """

    def __init__(self, name: str, section: Section) -> None:
        self._sheet = SHEETS[section.type]
        keys = {} if section.api_key is None else {"authorization": ("Bearer ", resolve(section.api_key))}
        access = Access.of(section, base_url(section), keys)
        super().__init__(name, section, Connection(access), OpenAiDialect(self._sheet))

    def price_provider(self, upstream_model: str) -> str:
        """Return what the price list calls the service; at Hugging Face, the provider that a model names."""
        if self.section.type != "huggingface":
            return self._sheet.prices
        behind = upstream_model.partition(":")[2]
        return "" if behind in POLICIES else self._sheet.prices + behind

    async def facts(self, upstream_model: str) -> Facts:
        """Return what the service's documentation says of a model. Nothing is asked."""
        return self._sheet.facts(upstream_model)

    async def check(self, upstream_model: str) -> None:
        """Return if the service can be reached and takes the key; its list of models may lack some.

        Raises:
            Failure: It does not answer, or refuses the key.
        """
        del upstream_model
        response = await self.connection.fetch(
            Outgoing(self._sheet.version_path + MODELS_PATH), CHECK_SECONDS
        )
        if isinstance(response, ErrorResponse) and response.status not in NO_LIST:
            raise self.dialect.failure(response)

    async def embed(
        self, upstream_model: str, inputs: Sequence[str], dimensions: int | None, timeout_seconds: float
    ) -> Embeddings:
        """Embed texts; see `Provider`."""
        match self._sheet.embeddings:
            case "none":
                return await super().embed(upstream_model, inputs, dimensions, timeout_seconds)
            case "feature-extraction":
                return await self._features(upstream_model, inputs, dimensions, timeout_seconds)
        outgoing = embeddings_request(upstream_model, inputs, dimensions)
        response = await self.connection.fetch(outgoing, timeout_seconds)
        if isinstance(response, ErrorResponse):
            raise self.dialect.failure(response)
        failure = reported_failure(response, self._sheet)
        if failure is not None:
            raise failure
        charges = self._sheet.charges_usd
        return embeddings_of(response, len(inputs), dimensions, charges_usd=charges)

    async def _features(
        self, upstream_model: str, inputs: Sequence[str], dimensions: int | None, timeout_seconds: float
    ) -> Embeddings:
        if dimensions is not None:
            raise Failure(FailureKind.NOT_SUPPORTED, "this provider cannot shorten embeddings")
        response = await self.connection.fetch_array(
            features_request(upstream_model, inputs), timeout_seconds
        )
        if isinstance(response, ErrorResponse):
            raise self.dialect.failure(response)
        return features_of(response, len(inputs))


def base_url(section: Section) -> str:
    """Return the address that paths are appended to, without a slash at its end."""
    if isinstance(section, CloudflareProvider):
        return f"{section.url.rstrip('/')}/client/v4/accounts/{section.account_id}/ai/v1"
    sheet = SHEETS[section.type]
    return (section.url or sheet.url).rstrip("/").removesuffix(sheet.version_path)
