"""What Anthropic's thinking blocks carry besides their text, as bytes that callers keep for us.

The API wants these blocks back unchanged while a model works with tools, and takes nothing else for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.chat.conversation import Reasoning

THINKING: Final = b"thinking:"
"""Begins the bytes of a block whose text may be seen; its signature follows."""
REDACTED: Final = b"redacted:"
"""Begins the bytes of a block whose text may not be seen; its encrypted data follows."""


def of_thinking(signature: str) -> bytes:
    """Return the bytes that stand for the signature of a `thinking` block."""
    return THINKING + signature.encode(errors="replace")


def of_redacted(data: str) -> bytes:
    """Return the bytes that stand for a `redacted_thinking` block."""
    return REDACTED + data.encode(errors="replace")


def block(part: Reasoning, provider: str) -> Mapping[str, Any] | None:
    """Return the block that a reasoning part was, as it was.

    None if `provider` did not sign it: the API refuses thoughts that are not its own.
    """
    if part.signature is None or part.signature.provider != provider:
        return None
    data = part.signature.data
    try:
        if data.startswith(REDACTED):
            return {"type": "redacted_thinking", "data": data.removeprefix(REDACTED).decode()}
        if data.startswith(THINKING):
            signature = data.removeprefix(THINKING).decode()
            return {"type": "thinking", "thinking": part.text, "signature": signature}
    except UnicodeDecodeError:
        pass  # bytes that were never made here
    return None
