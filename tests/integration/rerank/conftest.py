"""A rerank service with a cross-encoder, a bi-encoder and an embedding model in its file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.rerank.app import build
from tests.support.engines import SETTINGS, Engine, model_section, serving
from tests.support.tiny import write_model

SERVICE = "inglenook.rerank.v1.RerankService"
LIMITS = "[limits]\nmax_input_characters = 2000\n"


@dataclass(frozen=True)
class Folders:
    """Where the models are."""

    cross: Path
    bi: Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Write the models."""
    place = tmp_path_factory.mktemp("models")
    return Folders(write_model(place / "cross", labels=1, pooling=None), write_model(place / "bi"))


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> AsyncIterator[Engine]:
    """Run the service for all tests of a module: none of them changes it."""
    models = (
        f'[models.cross]\ncapability = "rerank"\nsource = "dir:{folders.cross}"\n'
        f'[models.bi]\ncapability = "rerank"\nkind = "bi-encoder"\nsource = "dir:{folders.bi}"\n'
        f"{model_section('embedder', folders.bi)}"
    )
    place = tmp_path_factory.mktemp("rerank")
    async with serving(build, place, models + SETTINGS + LIMITS, SERVICE) as engine:
        yield engine
