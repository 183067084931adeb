"""Signatures: what has to travel with a part so that it can be sent back as it came.

Two things are carried, each under the name of the field that it goes back into: `reasoning_details` of a
message (OpenRouter) and `extra_content` of a tool call (Gemini behind Chat Completions, where the thought
signature is in it). Signatures come back through callers, so nothing else is ever taken out of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from services.chat.conversation import Signature

DETAILS: Final = "reasoning_details"
EXTRA: Final = "extra_content"


def packed(name: str, value: Any) -> bytes:
    """Return the signature that carries `value` under `name`."""
    text = json.dumps({name: value}, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")  # halves of characters can be in JSON, and not in UTF-8


def details_of(signature: Signature | None, provider: str) -> list[Any]:
    """Return the reasoning details that a signature of `provider` carries."""
    value = _unpacked(signature, provider).get(DETAILS)
    return value if isinstance(value, list) else []


def extra_of(signature: Signature | None, provider: str) -> dict[str, Any] | None:
    """Return the extra content of a tool call that a signature of `provider` carries."""
    value = _unpacked(signature, provider).get(EXTRA)
    return value if isinstance(value, dict) else None


def _unpacked(signature: Signature | None, provider: str) -> Mapping[str, Any]:
    if signature is None or signature.provider != provider:
        return {}
    try:
        value = json.loads(signature.data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class Details:
    """Collects the `reasoning_details` of a streamed answer and puts the pieces of each together again."""

    def __init__(self) -> None:
        self._list: list[dict[str, Any]] = []

    def add(self, pieces: Any) -> str:
        """Take the details of one chunk and return the thoughts that can be read in them."""
        texts: list[str] = []
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                texts += [piece[name] for name in ("text", "summary") if isinstance(piece.get(name), str)]
                self._append(piece)
        return "".join(texts)

    def take(self) -> bytes:
        """Return the signature that carries what was added since the last time; empty if nothing was."""
        taken, self._list = self._list, []
        return packed(DETAILS, taken) if taken else b""

    def _append(self, piece: dict[str, Any]) -> None:
        last = self._list[-1] if self._list else {}
        kind = piece.get("type")
        if kind == "reasoning.encrypted" or (kind, piece.get("index")) != (
            last.get("type"),
            last.get("index"),
        ):
            self._list.append(dict(piece))
            return
        for name, value in piece.items():
            if name in {"text", "summary"} and isinstance(value, str):
                last[name] = (last.get(name) or "") + value
            elif value is not None:
                last[name] = value
