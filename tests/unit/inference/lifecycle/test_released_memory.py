"""What becomes of the memory of real sessions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.inference.encoding import Encoding
from services.inference.memory import release_freed_memory, resident_bytes
from services.inference.padding import pad
from services.inference.session import Session, SessionSettings
from tests.support.heavy import write_heavy_model

WEIGHT_BYTES = 50_000_000
SMALL_BYTES = 24_000_000
"""Less than the largest block that glibc may come to keep in an arena, which is 32 MB."""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a model with as many bytes of weights and returns its file; nothing of it is in memory."""

    def heavy(weight_bytes: int) -> Path:
        folder = write_heavy_model(tmp_path / "heavy", weight_bytes=weight_bytes, value=1.0)
        release_freed_memory()
        return folder / "model.onnx"

    return heavy


def test_memory_of_a_closed_session_goes_back_to_the_system(write: Callable[[int], Path]) -> None:
    """Otherwise an evicted model would make no room, and the budget would be a wish."""
    graph = write(WEIGHT_BYTES)
    before = resident_bytes()
    session = Session(graph, SessionSettings())
    session.run(pad([Encoding([1, 2, 3])], session.inputs))
    opened = resident_bytes() - before

    del session
    release_freed_memory()

    assert opened > WEIGHT_BYTES * 0.9
    assert resident_bytes() - before < WEIGHT_BYTES * 0.2


def test_memory_of_sessions_that_threads_opened_goes_back_time_after_time(
    write: Callable[[int], Path],
) -> None:
    """After one model has gone, glibc would keep the weights of the next ones in the arenas of threads."""
    graph = write(SMALL_BYTES)
    Session(graph, SessionSettings())  # what the first one takes for good does not count
    release_freed_memory()
    before = resident_bytes()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(8):
            sessions = list(threads.map(Session, [graph] * 2, [SessionSettings()] * 2))
            opened = resident_bytes() - before
            del sessions
            release_freed_memory()
            assert opened > 2 * SMALL_BYTES * 0.9
            assert resident_bytes() - before < SMALL_BYTES * 0.5
