"""The router that commands are run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.cli.canned import CannedRouter, canned_router


@pytest.fixture
def router() -> Iterator[CannedRouter]:
    """Return a router that runs."""
    with canned_router() as router:
        yield router
