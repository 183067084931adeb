"""Every transcript of Chat Completions is read as it was meant, however its bytes are cut."""

from __future__ import annotations

import json
import random
from typing import Any, Final

import pytest

from services.chat.providers.openai.dialect import OpenAiDialect
from services.chat.providers.openai.sheets import COMPATIBLE, OPENAI, SHEETS
from tests.support.replay import assert_reads_alike_however_cut, assert_whole_means_the_same
from tests.support.transcripts import Transcript, pieces_of, transcripts

ALL = transcripts("openai") + transcripts("compatible")

JUNK: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    1.5,
    10**30,
    "",
    "429",
    "x",
    [],
    [None],
    [{}],
    {},
    {"error": 1},
    {"a": [1]},
)
"""What might stand where something else is meant to."""


def damaged(value: Any, draw: random.Random) -> Any:
    """Return a value with junk in some places."""
    if draw.random() < 0.1:
        return draw.choice(JUNK)
    if isinstance(value, dict):
        return {name: damaged(member, draw) for name, member in value.items()}
    return [damaged(member, draw) for member in value] if isinstance(value, list) else value


def dialect_of(transcript: Transcript) -> OpenAiDialect:
    """Return the dialect that a transcript is in: the first word of its name is the service."""
    if transcript.path.parent.name == "openai":
        return OpenAiDialect(OPENAI)
    return OpenAiDialect(SHEETS.get(transcript.path.name.partition("_")[0], COMPATIBLE))


@pytest.mark.parametrize("transcript", ALL, ids=str)
def test_an_answer_means_the_same_however_its_bytes_are_cut(transcript: Transcript) -> None:
    """Cut in two at every byte and in single bytes, a stream gives the expected pieces."""
    assert_reads_alike_however_cut(dialect_of(transcript), transcript)


@pytest.mark.parametrize("transcript", [one for one in ALL if one.whole is not None], ids=str)
def test_an_answer_in_one_piece_means_what_the_streamed_one_does(transcript: Transcript) -> None:
    """The same answer without streaming has the same parts, usage and end."""
    assert_whole_means_the_same(dialect_of(transcript), transcript)


def test_the_transcripts_are_small() -> None:
    """No stream is longer than 1.2 KiB, so that all of its cuts can be tried."""
    assert max(len(one.stream) for one in ALL) < 1.2 * 1024


@pytest.mark.parametrize("transcript", ALL, ids=str)
def test_damaged_chunks_give_an_answer_or_a_failure(transcript: Transcript) -> None:
    """Whatever stands where something else is meant to, no other exception comes out."""
    draw = random.Random(str(transcript))
    for _ in range(20):
        events = [
            b"data: " + json.dumps(damaged(json.loads(line[6:]), draw)).encode()
            for line in transcript.stream.splitlines()
            if line.startswith(b"data: {")
        ]
        pieces_of(dialect_of(transcript), [b"\n\n".join(events)])
