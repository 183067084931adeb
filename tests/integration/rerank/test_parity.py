"""Scores of the rerank service against those of sentence-transformers' CrossEncoder (tests/golden)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from inglenook.common.v1 import Truncation
from inglenook.rerank.v1 import RerankRequest
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library

from services.rerank.app import build
from tests.integration.rerank.conftest import SERVICE
from tests.support.classification import CLASSIFICATION_FILE, FAMILIES, MAX_TOKENS, PAIRS
from tests.support.engines import SETTINGS, Engine, serving
from tests.support.stubs import LIMIT_SECONDS

LOGITS: Final = (1, 2)
TOLERANCE: Final = 1e-4

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Served:
    """A service with a cross-encoder of every family, one logit or two, and where they are."""

    engine: Engine
    folders: Mapping[str, Path]


@pytest.fixture(scope="module")
def golden() -> Arrays:
    """Return the expected numbers."""
    with np.load(CLASSIFICATION_FILE, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Run the service."""
    place = tmp_path_factory.mktemp("parity")
    folders = {
        f"{family}-{labels}": write(place / f"{family}-{labels}", labels=labels)
        for family, write in FAMILIES.items()
        for labels in LOGITS
    }
    models = "".join(
        f'[models.{name}]\ncapability = "rerank"\nsource = "dir:{folder}"\nmax_input_tokens = {MAX_TOKENS}\n'
        for name, folder in folders.items()
    )
    async with serving(build, place, models + SETTINGS, SERVICE) as engine:
        yield Served(engine, folders)


def comparable(folder: Path) -> list[int]:
    """Return the pairs that both sides read alike.

    Blank texts are refused here. The library cuts the longer text of a pair, which is the query in some; here
    it is never cut.
    """
    library = Library.from_file(str(folder / "tokenizer.json"))
    specials = library.num_special_tokens_to_add(is_pair=True)
    found = []
    for index, (query, document) in enumerate(PAIRS):
        lengths = [len(library.encode(text, add_special_tokens=False)) for text in (query, document)]
        cuts_document = lengths[0] <= (MAX_TOKENS - specials) // 2
        if query.strip() and document.strip() and (cuts_document or sum(lengths) + specials <= MAX_TOKENS):
            found.append(index)
    return found


async def score(engine: Engine, model: str, index: int, *, raw: bool) -> float:
    """Return the score of a pair."""
    query, document = PAIRS[index]
    request = RerankRequest(
        model=model,
        query=query,
        documents=[document],
        raw_scores=raw,
        truncation=Truncation.TRUNCATION_RIGHT,
    )
    return (await engine.rerank.Rerank(request, timeout=LIMIT_SECONDS)).results[0].score


@pytest.mark.parametrize("labels", LOGITS)
@pytest.mark.parametrize("family", FAMILIES)
async def test_scores_equal_those_of_sentence_transformers(
    served: Served, golden: Arrays, family: str, labels: int
) -> None:
    """Raw and between 0 and 1, whatever shared the batches, long documents cut as the library cuts them."""
    name = f"{family}-{labels}"
    pairs = comparable(served.folders[name])
    assert len(pairs) >= len(PAIRS) - 5
    identity = golden[f"{name}/identity"][pairs].astype(np.float64)
    logits = identity[:, 0] if labels == 1 else identity[:, 1] - identity[:, 0]
    expected = golden[f"{name}/sigmoid"][pairs][:, 0] if labels == 1 else 1 / (1 + np.exp(-logits))

    raw = await asyncio.gather(*(score(served.engine, name, index, raw=True) for index in pairs))
    scores = await asyncio.gather(*(score(served.engine, name, index, raw=False) for index in pairs))

    np.testing.assert_allclose(raw, logits, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)
