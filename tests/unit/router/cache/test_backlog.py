"""What waits to be written: in order, in pieces, and never without end."""

from __future__ import annotations

from services.router.cache.backlog import CHUNK_BYTES, CHUNK_ENTRIES, Backlog


def test_what_waits_is_bounded_in_bytes() -> None:
    """What there is no room for is not taken, and what has left makes room."""
    backlog = Backlog(20)
    assert backlog.add(b"k", b"0" * 9)
    assert backlog.add(b"k", b"1" * 9)
    assert not backlog.add(b"k", b"")
    assert backlog.chunk() == [(b"k", b"0" * 9), (b"k", b"1" * 9)]
    assert backlog.bytes == 0
    assert backlog.add(b"k", b"")


def test_it_is_written_in_pieces_of_limited_number_and_size() -> None:
    """Neither the event loop nor a slow line is held up; one large answer goes alone."""
    backlog = Backlog()
    for number in range(CHUNK_ENTRIES + 1):
        backlog.add(b"%d" % number, b"")
    assert [len(backlog.chunk()) for _ in range(3)] == [CHUNK_ENTRIES, 1, 0]
    for _ in range(2):
        backlog.add(b"k", b"x" * (CHUNK_BYTES + 1))
    assert [len(backlog.chunk()) for _ in range(3)] == [1, 1, 0]


def test_what_is_not_wanted_any_more_is_dropped_and_the_rest_stays() -> None:
    """A purge drops the answers of one model before they are written."""
    backlog = Backlog()
    for key in (b"a1", b"b1", b"a2"):
        backlog.add(key, b"xx")
    assert backlog.drop(lambda key: key.startswith(b"a")) == 2
    assert backlog.bytes == 4
    assert backlog.chunk() == [(b"b1", b"xx")]
