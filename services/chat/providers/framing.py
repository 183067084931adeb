"""Bytes to frames: newline-delimited JSON and server-sent events, fed in any pieces.

No frame depends on how the bytes were cut: text is decoded only when a line is whole, so that a character in
two pieces is one character. Server-sent events follow
https://html.spec.whatwg.org/multipage/server-sent-events.html as far as these APIs use them: `event` and
`data`, comments, LF, CR LF and CR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from services.chat.providers.failure import Failure, FailureKind

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""Longest line that is put together. The reference client of Ollama has the same limit."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a stream. `event` is empty where the framing has none or it is not named."""

    data: bytes
    event: str = ""


class Framing(Protocol):
    """Cuts a stream into frames."""

    def feed(self, content: bytes) -> list[Frame]:
        """Return the frames that are whole now.

        Raises:
            Failure: A line is longer than `MAX_LINE_BYTES`.
        """

    def end(self) -> list[Frame]:
        """Return what the end of the stream completes."""


class Lines:
    """Cuts bytes into lines, which may end with LF, CR LF or CR."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._skip_line_feed = False

    def feed(self, content: bytes) -> list[bytes]:
        """Return the lines that are whole now, without their ends."""
        if self._skip_line_feed and content:
            self._skip_line_feed = False
            if content.startswith(b"\n"):
                content = content[1:]
        if content.endswith(b"\r"):
            self._skip_line_feed = True
        if b"\r" in content:
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = content.split(b"\n")
        if lines:
            lines[0] = self.end() + lines[0]
        self._rest.append(rest)
        self._size += len(rest)
        if max((self._size, *map(len, lines))) > MAX_LINE_BYTES:
            raise Failure(FailureKind.MALFORMED, f"a line is longer than {MAX_LINE_BYTES} bytes")
        return lines

    def end(self) -> bytes:
        """Return what came after the last end of a line."""
        rest, self._rest, self._size = b"".join(self._rest), [], 0
        return rest


class JsonLines:
    """Newline-delimited JSON: every line that is not blank is a frame."""

    def __init__(self) -> None:
        self._lines = Lines()

    def feed(self, content: bytes) -> list[Frame]:
        """Return the frames that are whole now."""
        return [Frame(line) for line in self._lines.feed(content) if line.strip()]

    def end(self) -> list[Frame]:
        """Return the last line, which need not have an end."""
        rest = self._lines.end()
        return [Frame(rest)] if rest.strip() else []


class ServerSentEvents:
    """Server-sent events: the data lines up to a blank line are a frame."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, content: bytes) -> list[Frame]:
        """Return the frames that are whole now."""
        frames: list[Frame] = []
        for line in self._lines.feed(content):
            if line:
                self._take(line)
            else:
                frames += self._dispatch()
        return frames

    def end(self) -> list[Frame]:
        """Return the last event even if no blank line follows it: some servers leave it out."""
        if rest := self._lines.end():
            self._take(rest)
        return self._dispatch()

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) or 1  # empty ones, too, must not go on for ever
            if self._size > MAX_LINE_BYTES:
                raise Failure(FailureKind.MALFORMED, f"an event is longer than {MAX_LINE_BYTES} bytes")
        elif name == b"event":
            self._event = value.decode("utf-8", errors="replace")

    def _dispatch(self) -> list[Frame]:
        frames = [Frame(b"\n".join(self._data), self._event)] if self._data else []
        self._event, self._data, self._size = "", [], 0
        return frames
