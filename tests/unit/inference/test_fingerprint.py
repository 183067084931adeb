from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.artifacts import examine
from services.config import Engine
from services.inference.lifecycle import Precision
from services.inference.loading import Workshop, materials
from services.inference.loading.purpose import Purpose
from services.inference.session import ExecutionProvider
from tests.support.engine_parts import load_embedding_model, section, workshop
from tests.support.tiny import write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that a graph has to be built for."""
    return write_model(tmp_path / "model")


async def fingerprint(place: Workshop, folder: Path, **settings: Any) -> str:
    """Load a model, give it back, and return its fingerprint."""
    model, facts = await load_embedding_model(section(folder, **settings), place)
    await model.close()
    return facts.fingerprint


async def test_fingerprint_changes_with_all_that_decides_answers(tmp_path: Path, folder: Path) -> None:
    """Caches go by it: what would answer differently must never share it."""
    other_weights = write_model(tmp_path / "weights", seed=8)
    other_words = write_model(tmp_path / "words")
    tokenizer = other_words / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8").replace('"cat"', '"cow"'), encoding="utf-8")
    place = workshop(tmp_path)

    fingerprints = [
        await fingerprint(place, where, **settings)
        for where, settings in (
            (folder, {}),
            (other_weights, {}),
            (other_words, {}),
            (folder, {"pooling": "cls"}),
            (folder, {"max_input_tokens": 32}),
            (folder, {"query_prompt": "query: "}),
            (folder, {"document_prompt": "query: "}),
        )
    ]

    assert len(set(fingerprints)) == len(fingerprints)
    assert all(len(one) == 64 and int(one, 16) for one in fingerprints)


def test_fingerprint_changes_with_precision_and_provider(folder: Path) -> None:
    """A GPU in fp16 gives other digits than a CPU in fp32."""
    artifacts = examine(folder, None)
    choices: list[tuple[ExecutionProvider, Precision]] = [("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "fp16")]

    fingerprints = {
        materials._fingerprint(
            dict(artifacts.sha256),
            Purpose(pooling="mean"),
            (precision, 64),
            Engine(execution_provider=provider),
        )
        for provider, precision in choices
    }

    assert len(fingerprints) == 3


async def test_fingerprint_does_not_change_with_the_folders_name(tmp_path: Path, folder: Path) -> None:
    """Replicas that keep the same model in different places share what is cached."""
    place = workshop(tmp_path)
    here = await fingerprint(place, folder)

    there = await fingerprint(place, write_model(tmp_path / "elsewhere"), preload=False)

    assert there == here
