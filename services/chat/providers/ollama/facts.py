"""What an Ollama says of its models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.chat.providers.facts import Facts
from services.chat.providers.ollama.decode import count_of

FRESH_SECONDS: Final = 60.0
"""How long what was said is believed. A model can be replaced under its name at any time."""


def shown_facts(shown: Mapping[str, Any]) -> Facts:
    """Return the facts in an answer of `/api/show`."""
    info = shown.get("model_info")
    return _facts(shown, _context_length(info if isinstance(info, dict) else {}))


def listed_facts(listed: Mapping[str, Any]) -> Facts:
    """Return the facts in an entry of `/api/tags`; old versions say little there."""
    details = listed.get("details")
    return _facts(listed, count_of(details.get("context_length")) if isinstance(details, dict) else None)


def _facts(data: Mapping[str, Any], context_length: int | None) -> Facts:
    remote = bool(data.get("remote_host"))
    said = data.get("capabilities")
    capabilities = frozenset(one for one in said if isinstance(one, str)) if isinstance(said, list) else None

    def has(capability: str) -> bool | None:
        return None if capabilities is None else capability in capabilities

    return Facts(
        context_length=context_length or None,
        tools=has("tools"),
        images=has("vision"),
        reasoning=has("thinking"),
        # Grammars are applied by the runner, and cloud models have none.
        json_schema=not remote,
        json=not remote,
        remote=remote,
        chat=has("completion"),
    )


def _context_length(info: Mapping[str, Any]) -> int | None:
    """Return the context that the model was made for; the key begins with the name of its architecture."""
    return count_of(info.get(f"{info.get('general.architecture')}.context_length"))


@dataclass(frozen=True, slots=True)
class _Sheet:
    facts: Facts
    until: float


class Sheets:
    """What is known of models, asked for when it is needed and not known or no longer fresh.

    However many callers need the same, it is asked for once. A failure is told to all of them and not kept.

    Args:
        ask: Asks for the facts of a model.
        clock: Returns the time in seconds.
    """

    def __init__(self, ask: Callable[[str], Awaitable[Facts]], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._sheets: dict[str, _Sheet] = {}
        self._asking: dict[str, asyncio.Task[Facts]] = {}

    async def facts(self, model: str) -> Facts:
        """Return the facts of a model.

        Raises:
            Failure: They had to be asked for and were not to be had.
        """
        sheet = self._sheets.get(model)
        if sheet is not None and self._clock() < sheet.until:
            return sheet.facts
        if (asking := self._asking.get(model)) is None:
            asking = self._asking[model] = asyncio.create_task(self._renew(model), name="ask-facts")
            asking.add_done_callback(_forget_failure)
        return await asyncio.shield(asking)  # whoever leaves must not take the answer from the others

    async def aclose(self) -> None:
        """Stop asking."""
        underway = list(self._asking.values())
        for asking in underway:
            asking.cancel()
        await asyncio.gather(*underway, return_exceptions=True)

    async def _renew(self, model: str) -> Facts:
        now = self._clock()
        self._sheets = {name: sheet for name, sheet in self._sheets.items() if now < sheet.until}
        try:
            facts = await self._ask(model)
            self._sheets[model] = _Sheet(facts, self._clock() + FRESH_SECONDS)
        finally:
            del self._asking[model]
        return facts


def _forget_failure(asking: asyncio.Task[Facts]) -> None:
    """Look at the failure, so that nobody complains if all who waited for it have left."""
    if not asking.cancelled():
        asking.exception()
