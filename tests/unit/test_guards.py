"""The guards that unit tests run under catch what they are for."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest
from blockbuster import BlockingError

from services.config import load


async def test_code_that_blocks_the_event_loop_is_caught(tmp_path: Path) -> None:
    """Reading a file in the middle of a coroutine holds up every other caller."""
    file = tmp_path / "inglenook.toml"
    with file.open("w", encoding="utf-8") as opened:
        opened.write("")
    with pytest.raises(BlockingError):
        load(file)


def test_a_test_does_not_collect_what_others_left() -> None:
    """The last channel of grpc.aio joins a thread when it goes, which is no fault of whoever runs then."""
    assert not gc.isenabled()


def test_nothing_but_loopback_can_be_reached() -> None:
    """A test that needs the network would pass here and fail elsewhere."""
    with socket.socket() as one, pytest.raises(AssertionError, match="a test tried to reach"):
        one.connect(("192.0.2.1", 80))
