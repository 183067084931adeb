"""Configuration files from a few lines of TOML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.config import Configuration, ConfigurationInvalid, load

Accepted = Callable[[str], Configuration]
Refused = Callable[[str], list[str]]


@pytest.fixture
def accepted(tmp_path: Path) -> Accepted:
    """Return what loads TOML that is right."""

    def read(text: str) -> Configuration:
        path = tmp_path / "inglenook.toml"
        path.write_text(text, encoding="utf-8")
        return load(path).configuration

    return read


@pytest.fixture
def refused(accepted: Accepted) -> Refused:
    """Return what loads TOML that is wrong, and returns its problems as a person reads them."""

    def read(text: str) -> list[str]:
        with pytest.raises(ConfigurationInvalid) as caught:
            accepted(text)
        return [str(problem) for problem in caught.value.problems]

    return read
