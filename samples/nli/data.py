"""Reads the pairs that the adapter is trained and measured with."""

from __future__ import annotations

import csv
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAIRS: Final = Path(__file__).parent / "pairs"
LABELS: Final = ("entailment", "neutral", "contradiction")
# One premise in so many of those written by hand is kept for choosing between trainings.
DEV_OUT_OF: Final = 7


@dataclass(frozen=True)
class Example:
    """Two sentences, how the second relates to the first, and what the pair is a case of."""

    premise: str
    hypothesis: str
    label: int
    phenomenon: str


def read(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a TSV file.

    Args:
        path: The file; its first line names the columns.
    """
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def generated(split: str) -> list[Example]:
    """Return the generated pairs of a split.

    Args:
        split: "train", "heldout_lexicon" or "heldout_template".
    """
    rows = (row for row in read(PAIRS / "generated.tsv") if row["split"] == split)
    return [Example(r["premise"], r["hypothesis"], LABELS.index(r["label"]), r["phenomenon"]) for r in rows]


def triples(path: Path) -> list[Example]:
    """Return the pairs of a file written by hand, whose rows have one hypothesis for each label.

    Args:
        path: The file.
    """
    return [
        Example(row["premise"], row[label], index, row["phenomenon"])
        for row in read(path)
        for index, label in enumerate(LABELS)
        if (row[label] or "").strip()
    ]


def handwritten() -> tuple[list[Example], list[Example]]:
    """Return the pairs written by hand: those to train with, and those to choose with."""
    every = [example for path in sorted(PAIRS.glob("handwritten_*.tsv")) for example in triples(path)]
    kept = [zlib.crc32(example.premise.encode()) % DEV_OUT_OF == 0 for example in every]
    train = [example for example, dev in zip(every, kept, strict=True) if not dev]
    return train, [example for example, dev in zip(every, kept, strict=True) if dev]


def everyday() -> list[Example]:
    """Return the everyday pairs that take no part in training or in choosing."""
    return triples(PAIRS / "everyday_heldout.tsv")


def augmented(examples: list[Example], rng: random.Random, count: int) -> Iterator[Example]:
    """Yield pairs made from others whose labels follow.

    A contradiction read backwards is one as well; a sentence follows from itself; and a premise says nothing
    of what another premise's hypothesis claims.

    Args:
        examples: The pairs to start from.
        rng: Where every choice comes from.
        count: How many to yield of each sort.
    """
    neutral, contradiction = LABELS.index("neutral"), LABELS.index("contradiction")
    against = [e for e in examples if e.label == contradiction and e.phenomenon != "topics"]
    for example in rng.sample(against, min(count, len(against))):
        yield Example(example.hypothesis, example.premise, contradiction, "reversed")
    for example in rng.sample(examples, min(count // 4, len(examples))):
        yield Example(example.premise, example.premise, LABELS.index("entailment"), "same")
    plain = [example for example in examples if example.phenomenon != "topics"]
    for _ in range(count):
        one, other = rng.sample(plain, 2)
        if one.premise != other.premise:
            yield Example(one.premise, other.hypothesis, neutral, "shuffled")


def roughened(example: Example, rng: random.Random) -> Example:
    """Return a pair as people type it: now and then without its full stop.

    Args:
        example: The pair.
        rng: Where every choice comes from.
    """
    premise, hypothesis = (text.rstrip(".") if rng.random() < 0.15 else text  # noqa: PLR2004
                           for text in (example.premise, example.hypothesis))  # fmt: skip
    return Example(premise, hypothesis, example.label, example.phenomenon)
