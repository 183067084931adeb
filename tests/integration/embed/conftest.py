"""A tiny model for all tests of the embed service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny import write_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return write_model(tmp_path_factory.mktemp("model"))
