"""Tool calls as they are streamed: which fragment belongs to which call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from services.chat.providers.composer import Composer
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.openai.carried import EXTRA, packed

LEGACY: Final = "function_call"

Index: TypeAlias = int | str | None
"""What the fragments of a call share: its index, `LEGACY`, or nothing."""


class Calls:
    """Reads the fragments of tool calls into a composer.

    Fragments of a call share an `index`. Some servers give every call the index 0, or none at all; there a
    name with an id that was not seen before begins another call.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._current: dict[Index, int] = {}
        self._ids: list[str] = []

    def read(self, fragments: Any) -> None:
        """Read the `tool_calls` of a delta or a message.

        Raises:
            Failure: They cannot be understood.
        """
        for fragment in fragments if isinstance(fragments, list) else ():
            function = fragment.get("function") if isinstance(fragment, dict) else None
            if not isinstance(function, dict):
                raise Failure(FailureKind.MALFORMED, "a tool call came without its function")
            index = fragment.get("index")
            self._read(
                index if isinstance(index, int) else None,
                _text(fragment.get("id")),
                function,
                fragment.get(EXTRA),
            )

    def legacy(self, function: Any) -> None:
        """Read the `function_call` of a delta or a message, which tool calls have replaced."""
        if isinstance(function, dict):
            self._read(LEGACY, "", function, None)

    def _read(self, index: Index, identity: str, function: Mapping[str, Any], extra: Any) -> None:
        name = _text(function.get("name"))
        number = self._current.get(index)
        if number is None or (name and self._is_other(number, index, identity)):
            number = self._current[index] = len(self._ids)
            self._ids.append(identity)
        arguments = _arguments(function.get("arguments"))
        self._composer.tool_call(number, identity=identity, name=name, arguments=arguments)
        if isinstance(extra, dict) and number == len(self._ids) - 1:
            self._composer.sign(packed(EXTRA, extra))

    def _is_other(self, number: int, index: Index, identity: str) -> bool:
        """Return whether a fragment with a name is of another call than the one with that number."""
        return identity != self._ids[number] if identity else index is None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: Any) -> str:
    """Return arguments as text; some servers send the object itself."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _text(value)
