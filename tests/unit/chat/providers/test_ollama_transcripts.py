"""Answers of an Ollama, read however their bytes are cut."""

from __future__ import annotations

import json

import ollama
import pytest

from services.chat.providers.ollama.dialect import OllamaDialect
from tests.support.replay import assert_reads_alike_however_cut, assert_whole_means_the_same
from tests.support.transcripts import Transcript, transcripts

DIALECT = OllamaDialect()
TRANSCRIPTS = transcripts("ollama")


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_an_answer_is_read_alike_however_its_bytes_are_cut(transcript: Transcript) -> None:
    """Networks cut where they like, in the middle of characters too."""
    assert_reads_alike_however_cut(DIALECT, transcript)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_an_answer_in_one_piece_means_what_the_streamed_one_does(transcript: Transcript) -> None:
    """Parts, usage and end are the same."""
    assert_whole_means_the_same(DIALECT, transcript)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_transcripts_have_the_shape_that_the_official_client_reads(transcript: Transcript) -> None:
    """What no Ollama would send proves nothing."""
    lines = [line for line in transcript.stream.splitlines() if "error" not in json.loads(line)]
    whole = [] if transcript.whole is None else [transcript.whole]
    for body in (*lines, *whole):
        answer = ollama.ChatResponse.model_validate_json(body)
        assert answer.message.role == "assistant"
        assert answer.done is not None


def test_transcripts_are_there() -> None:
    """Without them the claims above would hold for nothing."""
    assert len(TRANSCRIPTS) >= 15
