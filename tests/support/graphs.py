"""Graphs of tiny models: built, opened and run, and the numpy model that they are held against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from services.artifacts import examine, examine_adapter
from services.inference.encoding import Encoding
from services.inference.graph.build import Checkpoint, Plan, build
from services.inference.padding import pad
from services.inference.session import Session, SessionSettings
from tests.support.numpy_bert import NumpyBert


def checkpoint(folder: Path, adapter: Path | None = None) -> Checkpoint:
    """Return the checkpoint of a model's folder, with the adapter of another."""
    artifacts = examine(folder, None)
    assert artifacts.weights is not None
    return Checkpoint(
        artifacts.config,
        artifacts.weights,
        artifacts.sha256[artifacts.weights.name],
        examine_adapter(adapter) if adapter else None,
    )


def build_graph(folder: Path, plan: Plan, adapter: Path | None = None) -> Path:
    """Build the model of `folder` as `plan` says, into a cache beside it."""
    return build(checkpoint(folder, adapter), plan, folder.parent / "cache")


def open_graph(folder: Path, plan: Plan, adapter: Path | None = None) -> Session:
    """Build the model of `folder` as `plan` says, and open it on the CPU."""
    return Session(build_graph(folder, plan, adapter), SessionSettings())


def run(session: Session, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
    """Run one batch."""
    return session.run(pad(encodings, session.inputs))


def numpy_model(folder: Path) -> NumpyBert:
    """Return the reference for the model of a folder."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return NumpyBert(load_file(folder / "model.safetensors"), config)


def random_encodings(lengths: Sequence[int], *, vocabulary: int = 50, seed: int = 0) -> list[Encoding]:
    """Return encodings of these lengths with random ids."""
    random = np.random.default_rng(seed)
    return [Encoding([int(one) for one in random.integers(0, vocabulary, length)]) for length in lengths]
