"""What every unit test runs under: a detector of calls of ours that block the event loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def _nothing_blocks() -> Iterator[None]:
    """Fail wherever code in `services` reads a file, sleeps or waits for a lock on the event loop.

    Garbage is collected between tests. What others left may wait for a thread when it goes, as the last
    channel of grpc.aio does, and would do so in the middle of whichever test made the collector run.
    """
    gc.disable()
    try:
        with blockbuster_ctx("services"):
            yield
    finally:
        gc.enable()
