"""An Ollama: its address, its language, and what it says of its models."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from services.chat.providers.connection import Access, Connection
from services.chat.providers.dialect import Ask, Outgoing
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.exchange import Exchange, Timers
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.dialect import OllamaDialect
from services.chat.providers.ollama.embeddings import EMBED, embed_body, read_embeddings
from services.chat.providers.ollama.encode import KeepAlive
from services.chat.providers.ollama.facts import Sheets, listed_facts, shown_facts
from services.chat.providers.provider import LOCAL, Embeddings, Provider, UpstreamModel
from services.config import OLLAMA_CLOUD, resolve
from services.config import OllamaProvider as Section

QUESTION_SECONDS: Final = 10.0
"""How long questions about models may take. They are answered from memory."""
QUESTIONS: Final = 8
"""How many of them at a time, beside the answers that are under way and never behind them."""
WAITING_QUESTIONS: Final = 1024

SHOW: Final = "/api/show"
TAGS: Final = "/api/tags"
RUNNING: Final = "/api/ps"


class OllamaProvider(Provider):
    """An Ollama.

    Args:
        name: Its name in the configuration.
        section: What the configuration says of it.

    Raises:
        SecretUnavailable: Its key cannot be had.
    """

    def __init__(self, name: str, section: Section) -> None:
        access = _access(section)
        self._dialect = OllamaDialect(_keep_alive(section.keep_alive))
        super().__init__(name, section, Connection(access), self._dialect)
        self._discover = section.discover
        self._questions = Connection(
            replace(access, max_concurrent_requests=QUESTIONS, max_waiting_requests=WAITING_QUESTIONS)
        )
        self._sheets = Sheets(self._show, time.monotonic)
        self._remote: set[str] = set()

    def is_paid(self, upstream_model: str) -> bool:
        """Whether calls of a model cost money or leave the house: by its name, and once it has said so."""
        return (
            super().is_paid(upstream_model)
            or OLLAMA_CLOUD.fullmatch(upstream_model.lower()) is not None
            or _full_name(upstream_model) in self._remote
        )

    def canonical(self, upstream_model: str) -> str:
        """Return the name with its tag, in lower case: an Ollama cares for neither."""
        return _full_name(upstream_model)

    def exchange(self, ask: Ask, timers: Timers, new_id: Callable[[int], str]) -> Exchange:
        """Return the exchange that asks for an answer. A model that is missing is named, not pulled."""
        return Exchange(self.connection, self._speaking_of(ask.upstream_model), ask, timers, new_id)

    async def facts(self, upstream_model: str) -> Facts:
        """Return what the Ollama says of a model, for a minute at most what it said before.

        Raises:
            Failure: It does not answer; MODEL_MISSING if it does not have the model.
        """
        return await self._sheets.facts(upstream_model)

    async def check(self, upstream_model: str) -> None:
        """Return if the Ollama has the model now.

        Raises:
            Failure: It has not, or does not answer.
        """
        await self._show(upstream_model)

    async def models(self) -> Sequence[UpstreamModel]:
        """Return the models of the Ollama that can be talked with; none unless `discover` is set.

        Raises:
            Failure: It does not answer.
        """
        if not self._discover:
            return ()
        listed = await self._list(TAGS)
        running = await self._running()
        models = [
            UpstreamModel(name, listed_facts(entry), loaded=_full_name(name) in running)
            for name, entry in listed.items()
        ]
        for model in models:
            self._note(model.name, model.facts)
        return [model for model in models if model.facts.chat is not False]

    async def embed(
        self, upstream_model: str, inputs: Sequence[str], dimensions: int | None, timeout_seconds: float
    ) -> Embeddings:
        """Embed texts; see `Provider.embed`. An input that is too long fails with CONTEXT_LENGTH."""
        body = embed_body(upstream_model, inputs, dimensions, self._dialect.keep_alive)
        answer = await self.connection.fetch(Outgoing(EMBED, body), timeout_seconds)
        if isinstance(answer, ErrorResponse):
            raise self._speaking_of(upstream_model).failure(answer)
        return read_embeddings(answer, len(inputs), dimensions)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._sheets.aclose()
        await self._questions.aclose()
        await super().aclose()

    async def _show(self, model: str) -> Facts:
        answer = await self._questions.fetch(Outgoing(SHOW, {"model": model}), QUESTION_SECONDS)
        if isinstance(answer, ErrorResponse):
            raise self._speaking_of(model).failure(answer)
        facts = shown_facts(answer)
        self._note(model, facts)
        return facts

    async def _list(self, path: str) -> dict[str, Mapping[str, Any]]:
        """Return the models that a list has, by name."""
        answer = await self._questions.fetch(Outgoing(path), QUESTION_SECONDS)
        if isinstance(answer, ErrorResponse):
            raise self._dialect.failure(answer)
        models = answer.get("models")
        if not isinstance(models, list):
            raise Failure(FailureKind.MALFORMED, "the provider did not send a list of models")
        entries = [entry for entry in models if isinstance(entry, dict)]
        return {entry["name"]: entry for entry in entries if isinstance(entry.get("name"), str)}

    async def _running(self) -> frozenset[str]:
        """Return the models in memory; none if the Ollama does not say, which is no reason to fail."""
        try:
            return frozenset(map(_full_name, await self._list(RUNNING)))
        except Failure:
            return frozenset()

    def _note(self, model: str, facts: Facts) -> None:
        """Remember where a model runs."""
        if facts.remote:
            self._remote.add(_full_name(model))
        else:
            self._remote.discard(_full_name(model))

    def _speaking_of(self, model: str) -> OllamaDialect:
        """Return the dialect that knows which model to pull, where that is up to whoever runs the Ollama."""
        return replace(self._dialect, pull=model) if self.section.tier == LOCAL else self._dialect


def _access(section: Section) -> Access:
    keys = {} if section.api_key is None else {"authorization": ("Bearer ", resolve(section.api_key))}
    return Access.of(section, section.url, keys)


def _keep_alive(text: str | None) -> KeepAlive | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else text


def _full_name(model: str) -> str:
    """Return the name under which a model is known however it is written: letter case, default tag."""
    name = model.lower()
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
