"""Tiny models for all tests of the nli service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.zero_shot import write_nli_model


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of contradiction, entailment and neutral."""
    return write_nli_model(tmp_path_factory.mktemp("three"), "contradiction", "entailment", "neutral")


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of entailment and what is not."""
    return write_nli_model(tmp_path_factory.mktemp("two"), "entailment", "not_entailment")
