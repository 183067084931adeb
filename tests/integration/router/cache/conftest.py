"""A Redis per test: starting one takes no longer than emptying one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer, redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis."""
    with redis_server(tmp_path) as running:
        yield running
