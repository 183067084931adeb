from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from services.chat.providers.framing import ServerSentEvents
from tests.support.transcripts import Transcript, transcripts

TRANSCRIPTS = transcripts("anthropic")
NAMES = [str(transcript) for transcript in TRANSCRIPTS]
OFFICIAL: Final = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}
ODD: Final = "anthropic/with_pings_and_unknown_events"
"""The one transcript with events that the official client has no type for, on purpose."""


@cache
def events() -> TypeAdapter[Any]:
    """Return what the official client says that an event is."""
    return TypeAdapter(RawMessageStreamEvent)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_streams_are_made_of_the_apis_events(transcript: Transcript) -> None:
    """The official client's types take every event, and each one is named after its type."""
    framing = ServerSentEvents()
    frames = framing.feed(transcript.stream) + framing.end()
    for frame in frames:
        data = json.loads(frame.data)
        assert frame.event == data["type"]
        if frame.event in OFFICIAL and str(transcript) != ODD:
            events().validate_python(data)
        else:
            assert frame.event in ("error", "ping") or str(transcript) == ODD


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_answers_in_one_piece_are_the_apis_messages(transcript: Transcript) -> None:
    """The official client's types take them."""
    if transcript.whole is not None:
        Message.model_validate_json(transcript.whole)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_transcripts_are_small(transcript: Transcript) -> None:
    """They are cut at every byte, so their length counts twice."""
    assert len(transcript.stream) < 1536
