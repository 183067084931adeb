"""A servicer context for tests of single layers, where no socket is needed."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc


class FakeContext:
    """What handlers and layers ask of a call's context, and what they tell it.

    Attributes:
        status: What the call was aborted with: code, message, trailing metadata.
        trailing: Trailing metadata that was set.
        written: Responses that were written.
        refusal: Raised when a response is written.
    """

    def __init__(self, remaining_seconds: float | None = None) -> None:
        self._remaining = remaining_seconds
        self.status: tuple[grpc.StatusCode, str, Any] | None = None
        self.trailing: Any = ()
        self.written: list[Any] = []
        self.refusal: Exception | None = None

    def time_remaining(self) -> float | None:
        """Return how long the caller still waits."""
        return self._remaining

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Remember it."""
        self.trailing = metadata

    def trailing_metadata(self) -> Any:
        """Return what was set."""
        return self.trailing

    async def write(self, response: Any) -> None:
        """Remember it, or fail as the test wants."""
        if self.refusal is not None:
            raise self.refusal
        self.written.append(response)

    def code(self) -> grpc.StatusCode | None:
        """Return the code that the call was aborted with."""
        return None if self.status is None else self.status[0]

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> NoReturn:
        """Remember the status and raise, as gRPC does."""
        self.status = (code, details, trailing_metadata)
        raise grpc.aio.AbortError


def fake_context(remaining_seconds: float | None = None) -> Any:
    """Return a context with so much time left, or without a deadline."""
    return FakeContext(remaining_seconds)
