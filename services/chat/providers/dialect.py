"""The shape of a dialect: a pure mapping between the domain and a provider's wire format.

A dialect makes requests and reads answers; it opens no connection and keeps nothing between calls. One
reading of a provider's messages serves streamed and whole answers, so that they cannot differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.chat.answer import Piece
from services.chat.conversation import Conversation
from services.chat.providers.composer import Composer
from services.chat.providers.errors import MESSAGES, ErrorResponse
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.framing import MAX_LINE_BYTES, Frame, Framing


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of whom.

    Attributes:
        conversation: The conversation. Defaults of the configuration are filled in.
        provider: Name of the provider; signatures of other providers are dropped.
        upstream_model: The model at the provider.
        facts: What is known of that model.
        context_length: Context to ask for, where a provider lets one choose; None leaves it to the provider.
    """

    conversation: Conversation
    provider: str
    upstream_model: str
    facts: Facts = UNKNOWN
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An HTTP request.

    Attributes:
        path: Appended to the provider's address, with query; never holds a key.
        body: Sent as JSON; None makes it a GET.
        headers: Besides those that the provider always sends.
    """

    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """A provider's language."""

    def encode(self, ask: Ask) -> Outgoing:
        """Return the request that asks for a streamed answer.

        Raises:
            Failure: NOT_SUPPORTED: the dialect has no way to ask for this.
        """

    def framing(self) -> Framing:
        """Return what cuts a streamed answer into frames."""

    def reading(self, ask: Ask, composer: Composer) -> Reading:
        """Return what reads the answer to `ask` into `composer`."""

    def failure(self, response: ErrorResponse) -> Failure:
        """Return what a response that is no answer means."""


class Reading(Protocol):
    """Reads one answer. Both methods are given JSON objects and call the composer.

    Both may raise `Failure`: for an error that the provider reports inside of a response, and for what cannot
    be understood.
    """

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Read one frame of a streamed answer; `name` is its event, empty if it has none."""

    def whole(self, data: Mapping[str, Any]) -> None:
        """Read an answer that came in one piece."""


DONE = b"[DONE]"
"""Data of the frame with which OpenAI's streams end; it is no JSON."""


class Decoder:
    """Turns the body of a response into pieces, in whatever portions it arrives.

    Args:
        framing: Cuts it into frames. None: the body is one JSON object.
        reading: Reads the frames.
        composer: Puts the pieces together.

    A failure in the middle is raised by `end`, after everything before it has been returned, so that what was
    read does not depend on how the bytes were cut.

    Attributes:
        ended: Nothing that follows matters: the provider said so, or failed.
    """

    def __init__(self, framing: Framing | None, reading: Reading, composer: Composer) -> None:
        self._framing = framing
        self._reading = reading
        self._composer = composer
        self._body: list[bytes] = []
        self._size = 0
        self._failure: Failure | None = None
        self.ended = False

    @property
    def complete(self) -> bool:
        """Whether the provider has said why it stopped; what may still follow is no content."""
        return self._composer.stopped is not None and self._failure is None

    @property
    def has_content(self) -> bool:
        """Whether something for the caller has arrived."""
        return self._composer.has_content

    def feed(self, content: bytes) -> list[Piece]:
        """Return the pieces that are whole now."""
        try:
            if self._framing is None:
                self._keep(content)
            else:
                self._read(self._framing.feed(content))
        except Failure as failure:
            self._failure, self.ended = failure, True
        return self._composer.take()

    def end(self) -> list[Piece]:
        """Return the last pieces, now that no more bytes follow.

        Raises:
            Failure: The answer is not complete, or the provider failed.
        """
        if self._failure is not None:
            raise self._failure
        if self._framing is None:
            with _understood():
                self._reading.whole(json_object(b"".join(self._body)))
        else:
            self._read_rest(self._framing.end())
        return self._composer.finish()

    def _read_rest(self, frames: Sequence[Frame]) -> None:
        """Read what has no end of its own. What is not JSON is half of a frame: the answer broke off."""
        try:
            for frame in frames:
                if frame.data.strip() not in (b"", DONE):
                    _json(frame.data)
        except Failure as failure:
            if self.complete:
                return  # only usage might be missing
            message = "the answer ended before it was complete"
            raise Failure(FailureKind.BROKEN_OFF, message) from failure
        self._read(frames)

    def _keep(self, content: bytes) -> None:
        self._body.append(content)
        self._size += len(content)
        if self._size > MAX_LINE_BYTES:
            raise Failure(FailureKind.MALFORMED, f"the answer is longer than {MAX_LINE_BYTES} bytes")

    def _read(self, frames: Sequence[Frame]) -> None:
        with _understood():
            for frame in frames:
                if self.ended:
                    return
                if frame.data.strip() == DONE:
                    self.ended = True
                elif frame.data.strip():
                    self._reading.event(frame.event, json_object(frame.data))
                    self.ended = self._composer.closed


@contextmanager
def _understood() -> Iterator[None]:
    """Turn what is raised over nonsense into a `Failure`: endless nesting, halves of characters."""
    try:
        yield
    except (RecursionError, UnicodeError) as error:
        raise Failure(FailureKind.MALFORMED, MESSAGES[FailureKind.MALFORMED]) from error


def json_object(content: bytes) -> dict[str, Any]:
    """Return the JSON object that `content` is.

    Raises:
        Failure: It is none.
    """
    value = _json(content)
    if not isinstance(value, dict):
        raise Failure(FailureKind.MALFORMED, "what the provider sent is no JSON object")
    return value


def json_array(content: bytes) -> list[Any]:
    """Return the JSON array that `content` is.

    Raises:
        Failure: It is none.
    """
    value = _json(content)
    if not isinstance(value, list):
        raise Failure(FailureKind.MALFORMED, "what the provider sent is no JSON array")
    return value


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Failure(FailureKind.MALFORMED, "what the provider sent is not JSON") from error


def new_decoder(dialect: Dialect, ask: Ask, *, streamed: bool, new_id: Callable[[int], str]) -> Decoder:
    """Return a decoder for the answer to `ask`; `new_id` makes ids of tool calls that come without one."""
    composer = Composer(new_id)
    return Decoder(dialect.framing() if streamed else None, dialect.reading(ask, composer), composer)
