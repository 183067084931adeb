"""What every unit test runs under: a detector of calls of ours that block the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def _nothing_blocks() -> Iterator[None]:
    """Fail wherever code in `services` reads a file, sleeps or waits for a lock on the event loop."""
    with blockbuster_ctx("services"):
        yield
