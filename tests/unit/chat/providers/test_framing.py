from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.framing import MAX_LINE_BYTES, Frame, Framing, JsonLines, ServerSentEvents
from tests.support.transcripts import every_cut

ENDS = ("\n", "\r\n", "\r")


def frames(framing: Framing, portions: Iterable[bytes]) -> list[Frame]:
    """Return the frames that these portions hold."""
    found: list[Frame] = []
    for portion in portions:
        found += framing.feed(portion)
    return found + framing.end()


def events(text: str) -> list[tuple[str, str]]:
    """Return event and data of the server-sent events in a text, as they are read however it is cut."""
    body = text.encode()
    reference = frames(ServerSentEvents(), [body])
    for portions in every_cut(body):
        assert frames(ServerSentEvents(), portions) == reference, portions
    return [(frame.event, frame.data.decode()) for frame in reference]


def lines(text: str) -> list[str]:
    """Return the frames of newline-delimited JSON, as they are read however it is cut."""
    body = text.encode()
    reference = frames(JsonLines(), [body])
    for portions in every_cut(body):
        assert frames(JsonLines(), portions) == reference, portions
    return [frame.data.decode() for frame in reference]


@pytest.mark.parametrize("end", ENDS)
def test_events_end_with_a_blank_line_of_any_kind(end: str) -> None:
    """LF, CR LF and CR, also where a cut goes through the middle of CR LF or of a character."""
    text = f"event: one{end}data: Grüße 🦉{end}{end}data: two{end}{end}"
    assert events(text) == [("one", "Grüße 🦉"), ("", "two")]


def test_ends_of_lines_may_be_mixed() -> None:
    """LF then CR are two ends; CR then LF is one."""
    assert events("data: a\n\rdata: b\r\n\ndata: c\r\r") == [("", "a"), ("", "b"), ("", "c")]


def test_data_lines_are_joined() -> None:
    """With LF, whatever ended them; an empty one counts."""
    assert events("data: a\r\ndata\r\ndata:\r\ndata: b\r\n\r\n") == [("", "a\n\n\nb")]


def test_one_space_after_the_colon_is_not_data() -> None:
    """A second one is."""
    assert events("data:a\n\ndata: b\n\ndata:  c\n\ndata: d: e\n\n") == [
        ("", "a"),
        ("", "b"),
        ("", " c"),
        ("", "d: e"),
    ]


def test_comments_and_other_fields_are_nothing() -> None:
    """Also within an event, and also when they stand alone."""
    text = ": keep-alive\n\nid: 7\nretry: 10\nnews: x\n\ndata: a\n: PROCESSING\ndatum: x\ndata: b\n\n:\n\n"
    assert events(text) == [("", "a\nb")]


def test_an_event_without_data_is_nothing_and_names_nothing() -> None:
    """Its name does not stick to the next one."""
    assert events("event: lost\n\ndata: a\n\nevent: x\nevent: y\ndata: b\n\n") == [("", "a"), ("y", "b")]


@pytest.mark.parametrize("end", ["", *ENDS])
def test_the_last_blank_line_may_be_missing(end: str) -> None:
    """Some servers leave it out."""
    assert events(f"data: a\n\nevent: e\ndata: b{end}") == [("", "a"), ("e", "b")]


@pytest.mark.parametrize("end", ENDS)
def test_lines_of_json_end_with_any_end(end: str) -> None:
    """Blank ones are nothing, and the last one needs no end."""
    assert lines(f'{{"a":"ü"}}{end}{end}  {end}{{"b":1}}') == ['{"a":"ü"}', '{"b":1}']
    assert lines(f'{{"a":1}}{end}') == ['{"a":1}']


def test_nothing_has_no_frames() -> None:
    """An empty stream, or one of ends only."""
    assert events("") == []
    assert events("\n\r\n\r") == []
    assert lines("\r\n\n") == []


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=5),
    st.sampled_from(ENDS),
    st.lists(st.integers(0, 400)),
)
def test_what_is_sent_is_read(texts: list[str], end: str, cuts: list[int]) -> None:
    """Any text, with any ends, cut in any number of places."""
    body = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    portions = [body[start:stop] for start, stop in pairwise(places)]
    assert [frame.data.decode() for frame in frames(ServerSentEvents(), portions)] == texts


@pytest.mark.parametrize("new", [ServerSentEvents, JsonLines])
@pytest.mark.parametrize("size", [1024 * 1024, MAX_LINE_BYTES * 2])
def test_a_line_may_be_8_mib_long_and_no_longer(new: Callable[[], Framing], size: int) -> None:
    """However it arrives; so a server that never ends a line cannot fill the memory."""
    line = b"data: " + b"x" * (MAX_LINE_BYTES - 6)
    fitting = new()
    read = frames(fitting, [line[start : start + size] for start in range(0, len(line), size)] + [b"\n\n"])
    assert len(read) == 1
    endless = new()
    with pytest.raises(Failure) as caught:
        frames(endless, (b"x" * size for _ in range(100)))
    assert caught.value.kind is FailureKind.MALFORMED


def test_an_event_may_be_8_mib_long_and_no_longer() -> None:
    """Also when it is made of many lines."""
    line = b"data: " + b"x" * (1024 * 1024) + b"\n"
    framing = ServerSentEvents()
    for _ in range(8):
        framing.feed(line)
    with pytest.raises(Failure) as caught:
        framing.feed(line)
    assert caught.value.kind is FailureKind.MALFORMED


def test_empty_data_without_an_end_is_refused() -> None:
    """Lines that add nothing to an event are kept as well, so there is an end to their number."""
    framing = ServerSentEvents()
    framing.feed(b"data:\n" * MAX_LINE_BYTES)
    with pytest.raises(Failure):
        framing.feed(b"data:\n")
