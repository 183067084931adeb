"""The sample adapter of samples/nli over the default model, as `inglenook.toml` serves it."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from inglenook.nli.v1 import ClassifyRequest, InferResponse, InferResult

from services.cli.commands.demo.texts import PAIRS, SORTINGS
from services.config import NliModel, load
from tests.support.engines import Engine
from tests.support.minilm import SAMPLE
from tests.support.nli_service import infer_request, judging_service
from tests.support.stubs import LIMIT_SECONDS

FOLDER: Final = SAMPLE.parent / "samples" / "nli"
MODEL: Final = "minilm-nli"
LABELS: Final = ("entailment", "neutral", "contradiction")

PLAIN: Final = (
    ("The striker scored twice in the second half.", ("sports", "cooking", "politics")),
    ("How do I reset my password?", ("question", "complaint", "praise")),
    ("Simmer the sauce for ten minutes and add the basil.", ("cooking", "sports", "politics")),
)
"""Texts to classify, with the label that fits first."""

MOST_BYTES: Final = 1_500_000
LEAST_PAIRS: Final = 4_000
LEAST_RIGHT: Final = 0.5
"""Of everyday pairs that nothing was trained on; a third would be guessing. README.md has the figure; this is
only a guard."""


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """A service with the model that the sample configuration names."""
    section = load(SAMPLE).configuration.models[MODEL]
    assert isinstance(section, NliModel)
    models = (
        f'[models.{MODEL}]\ncapability = "nli"\nsource = "{section.source}"\n'
        f'adapter = "dir:{FOLDER / "adapter"}"\nmax_input_tokens = {section.max_input_tokens}\n'
    )
    async with judging_service(tmp_path_factory.mktemp("sample"), models) as made:
        yield made


async def infer(engine: Engine, pairs: Sequence[tuple[str, str]]) -> InferResponse:
    """Have pairs judged."""
    return await engine.nli.Infer(infer_request(pairs, MODEL), timeout=LIMIT_SECONDS)


def verdict(result: InferResult) -> str:
    """Return the label with the highest probability."""
    return max(LABELS, key=lambda label: float(getattr(result, label)))


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file of pairs."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_adapter_is_small_and_its_pairs_are_here() -> None:
    """Whoever doubts it can train it again: script and pairs are committed, and the adapter is no burden."""
    size = sum(path.stat().st_size for path in (FOLDER / "adapter").iterdir())
    pairs = sum(
        sum(bool(row.get(label)) for label in LABELS) or "label" in row
        for path in (FOLDER / "pairs").glob("*.tsv")
        if path.name != "everyday_heldout.tsv"
        for row in rows(path)
    )

    assert size <= MOST_BYTES
    assert pairs >= LEAST_PAIRS
    assert (FOLDER / "train.py").is_file()


def test_nothing_that_is_shown_was_trained_on() -> None:
    """The demo, and the pairs that the figures are about, would otherwise show memory and not judgement."""
    trained = {
        row.get("premise") or row["sentence"]
        for path in (FOLDER / "pairs").glob("*.tsv")
        if path.name != "everyday_heldout.tsv"
        for row in rows(path)
    }
    shown = {premise for premise, _ in PAIRS} | {one.text for one in SORTINGS}
    held_out = {row["premise"] for row in rows(FOLDER / "pairs" / "everyday_heldout.tsv")}

    assert not trained & shown
    assert not trained & held_out
    assert not trained & {text for text, _ in PLAIN}


async def test_everyday_pairs_that_nothing_was_trained_on_are_judged_better_than_by_guessing(
    engine: Engine,
) -> None:
    """It is a sample, and says so; but it has learned something that carries over to other sentences."""
    found = [
        (row["premise"], row[label], label)
        for row in rows(FOLDER / "pairs" / "everyday_heldout.tsv")
        for label in LABELS
        if row[label]
    ]
    response = await infer(engine, [(premise, hypothesis) for premise, hypothesis, _ in found])

    right = sum(verdict(result) == label for result, (*_, label) in zip(response.results, found, strict=True))
    assert len(found) >= 300
    assert right / len(found) >= LEAST_RIGHT


@pytest.mark.parametrize(("text", "labels"), PLAIN)
async def test_plain_texts_get_the_label_that_fits(
    engine: Engine, text: str, labels: tuple[str, ...]
) -> None:
    """What a visitor tries first comes out as expected; the label that fits stands first here."""
    request = ClassifyRequest(model=MODEL, inputs=[text], labels=labels)
    response = await engine.nli.Classify(request, timeout=LIMIT_SECONDS)

    assert response.results[0].scores[0].label == labels[0]
