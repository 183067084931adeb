"""The claims that hold for the transcripts of every dialect."""

from __future__ import annotations

from services.chat.providers.dialect import Dialect
from tests.support.transcripts import Transcript, every_cut, meaning, pieces_of


def assert_reads_alike_however_cut(dialect: Dialect, transcript: Transcript) -> None:
    """The answer means what is expected, and its pieces are the same wherever its bytes are cut."""
    body = transcript.stream
    reference = pieces_of(dialect, [body])
    assert meaning(*reference) == transcript.expected, f"{transcript} is read otherwise"
    told = str(reference[1])
    for portions in every_cut(body):
        pieces, failure = pieces_of(dialect, portions)
        assert (pieces, str(failure)) == (reference[0], told), f"{transcript}, cut after {len(portions[0])}"


def assert_whole_means_the_same(dialect: Dialect, transcript: Transcript) -> None:
    """The answer in one piece has the parts, the usage and the end of the streamed one."""
    body = transcript.whole
    if body is not None:
        assert meaning(*pieces_of(dialect, [body], streamed=False)) == transcript.expected
