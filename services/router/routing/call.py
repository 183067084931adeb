"""What is passed to a backend, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from services.chassis.trailing import FINGERPRINT_KEY

__all__ = ["FINGERPRINT_KEY", "Answer", "Ask", "Metadata", "Write"]

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Write: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Takes each message of a stream, and returns when there is room for the next one."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A call for whichever backend can answer it.

    Attributes:
        method: `/package.Service/Method`.
        content: The request message as bytes.
        timeout_seconds: How long the caller still waits.
        safe: The contract marks the method NO_SIDE_EFFECTS: it may be made more than once.
        model: Public name of the model that the call is for; empty where the caller named none or it is not
            known without reading the message.
        metadata: What goes with the call besides the trace.
        accept: Reads a response, or raises `Garbled` if it is none to this request, which is the replica's
            fault; None to take whatever comes. For calls with one response.
    """

    method: str
    content: bytes
    timeout_seconds: float
    safe: bool
    model: str = ""
    metadata: Metadata = ()
    accept: Callable[[bytes], object] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend answered.

    Attributes:
        content: The response message as bytes.
        trailing: Its trailing metadata: who answered, with which model.
        backend: Name of the backend.
        endpoint: `host:port` of the replica.
        read: What `Ask.accept` made of the content.
    """

    content: bytes
    trailing: Metadata
    backend: str = ""
    endpoint: str = ""
    read: object = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model that computed the answer; empty if the backend does not tell."""
        found = (value for key, value in self.trailing if key == FINGERPRINT_KEY)
        return str(next(found, ""))
