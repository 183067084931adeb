"""A hub of our own, and folders for its client that no other test shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from services.artifacts import Origins, Wanted, hub_client, locate
from services.config import Hub
from tests.support.hub_repository import COMMIT, encoder
from tests.support.hub_server import HubServer, serving


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the hub's client a cache and no token, whatever this machine has; nobody waits between tries."""
    cache = tmp_path / "hub"
    # It reads its environment when it is imported, which was before this test.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_client, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield cache
    huggingface_hub.close_session()


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A hub that has `org/model`, an embedding model."""
    with serving(model=encoder()) as server:
        yield server


@dataclass
class Finder:
    """Locates models of one hub.

    Attributes:
        origins: Where they come from.
        told: What was reported.
    """

    origins: Origins
    told: list[str] = field(default_factory=list)

    def __call__(
        self,
        source: str = "hf:org/model",
        *,
        revision: str | None = COMMIT,
        onnx_file: str | None = None,
        build: bool = False,
        adapter: bool = False,
    ) -> Path:
        """Locate a model and return its folder."""
        wanted = Wanted(source, revision, onnx_file, build, adapter)
        return locate(wanted, self.origins, self.told.append)


@pytest.fixture
def find(hub: HubServer, tmp_path: Path) -> Finder:
    """What locates models of the hub."""
    return Finder(Origins(tmp_path, tmp_path / "ours", Hub(endpoint=hub.url, timeout_seconds=20)))


@pytest.fixture
def finder(tmp_path: Path) -> Callable[[Hub], Finder]:
    """Make what locates models with other settings."""
    return lambda settings: Finder(Origins(tmp_path, tmp_path / "ours", settings))
