from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from services.chat.answer import Piece, Stopped, TextPiece
from services.chat.providers.composer import Composer
from services.chat.providers.dialect import Decoder
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.framing import JsonLines, ServerSentEvents


class Letters:
    """Reads answers whose frames say which text, reason for stopping or failure they are."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Read one frame."""
        del name
        self._composer.text(data.get("text", ""))
        if "stop" in data:
            self._composer.stop(data["stop"])
        if data.get("last"):
            self._composer.close()
        if data.get("fail"):
            raise Failure(FailureKind.UNAVAILABLE, "it failed")

    def whole(self, data: Mapping[str, Any]) -> None:
        """Read an answer in one piece."""
        self.event("", data)


def read(*portions: bytes, lines: bool = False) -> tuple[list[Piece], FailureKind | None]:
    """Return what portions of an answer are read as, and the kind of failure that ended it."""
    composer = Composer(str)
    decoder = Decoder(JsonLines() if lines else ServerSentEvents(), Letters(composer), composer)
    pieces: list[Piece] = []
    try:
        for portion in portions:
            pieces += decoder.feed(portion)
        pieces += decoder.end()
    except Failure as failure:
        return pieces, failure.kind
    return pieces, None


TEXT = b'data: {"text": "a"}\n\n'
STOP = b'data: {"stop": "stop"}\n\n'


@pytest.mark.parametrize("rest", [b"data: [DO", b'data: {"usage": {"in', b"da", b"data: [DONE]", b": bye"])
def test_an_answer_that_is_complete_needs_no_rest(rest: bytes) -> None:
    """Only usage can be in what was cut off after the provider said why it stopped."""
    assert read(TEXT + STOP, rest) == ([TextPiece(0, "a"), Stopped("stop")], None)


@pytest.mark.parametrize("rest", [b'data: {"text": "b', b"data: [DO", b"da", b"", b"data: [DONE]\n\n"])
def test_an_answer_that_never_stopped_is_broken_off_wherever_it_ends(rest: bytes) -> None:
    """In the middle of a frame or between two; not even the end marker makes up for it."""
    assert read(TEXT, rest) == ([TextPiece(0, "a")], FailureKind.BROKEN_OFF)
    assert read(TEXT[6:-1], rest[6:], lines=True)[1] is FailureKind.BROKEN_OFF


def test_a_failure_comes_after_everything_before_it() -> None:
    """Even if all of it arrived at once."""
    assert read(TEXT + b'data: {"fail": 1}\n\n' + TEXT) == ([TextPiece(0, "a")], FailureKind.UNAVAILABLE)


def test_a_frame_without_its_blank_line_is_read_if_it_is_whole() -> None:
    """A stop, and an error as well."""
    assert read(TEXT, STOP.rstrip()) == ([TextPiece(0, "a"), Stopped("stop")], None)
    assert read(TEXT, b'data: {"fail": 1}')[1] is FailureKind.UNAVAILABLE


def test_nothing_is_read_after_the_provider_said_that_nothing_follows() -> None:
    """Neither what is no JSON nor a failure."""
    last = b'data: {"stop": "length", "last": true}\n\n'
    for rest in (b"data: nonsense\n\n", b'data: {"fail": 1}\n\n', b"data: half"):
        assert read(TEXT, last + rest) == ([TextPiece(0, "a"), Stopped("length")], None)


@pytest.mark.parametrize(
    "frame", [b"data: nonsense\n\n", b"data: []\n\n", b"data: " + b"[" * 99_999 + b"\n\n"]
)
def test_a_whole_frame_that_is_no_json_object_is_malformed(frame: bytes) -> None:
    """It was not cut off: the provider speaks another language."""
    assert read(TEXT, frame)[1] is FailureKind.MALFORMED
