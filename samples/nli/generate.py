"""Writes `pairs/generated.tsv` from the lexicon and the frames; the same file each time.

From the repository's root:

    python samples/nli/generate.py
"""

from __future__ import annotations

import csv
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from samples.nli import frames, scenes, topics
from samples.nli.frames import Pair

OUTPUT: Final = Path(__file__).parent / "pairs" / "generated.tsv"
COLUMNS: Final = ("premise", "hypothesis", "label", "phenomenon", "template", "split")
SEED: Final = 20
# How many training pairs of each phenomenon.
COUNTS: Final = {
    "negation": 1100, "quantifiers": 1100, "hypernyms": 1200, "numbers": 1100, "time": 1100, "roles": 1100,
    "paraphrase": 1200,
}  # fmt: skip
EVERYDAY: Final = 1600
TOPICS: Final = 2400
UNRELATED: Final = 500
WORD: Final = re.compile(r"[a-z']{3,}")
COMMON: Final = frozenset(
    ("the", "and", "was", "were", "has", "had", "have", "not", "that", "this", "for", "with", "from", "one",
     "are", "all", "its", "but", "his", "her")
)  # fmt: skip


def words(text: str) -> set[str]:
    """Return the words of a sentence that carry its meaning.

    Args:
        text: The sentence.
    """
    return set(WORD.findall(text.lower())) - COMMON


def unrelated(pairs: list[Pair], count: int, rng: random.Random) -> Iterator[Pair]:
    """Yield neutral pairs: a premise with another premise's hypothesis that shares no word with it.

    Args:
        pairs: What the sentences are taken from.
        count: How many training pairs are wanted.
        rng: Where every choice comes from.
    """
    for split, number in (
        ("train", count),
        ("heldout_lexicon", count // 8),
        ("heldout_template", count // 8),
    ):
        pool = [pair for pair in pairs if pair.split == split]
        made = 0
        while made < number:
            one, other = rng.choice(pool), rng.choice(pool)
            if one.phenomenon != other.phenomenon and not words(one.premise) & words(other.hypothesis):
                name = f"{one.template}+{other.template}"
                yield Pair(one.premise, other.hypothesis, "neutral", "unrelated", name, split)
                made += 1


def everything() -> list[Pair]:
    """Return every pair once, in the file's order."""
    rng = random.Random(SEED)
    pairs = [pair for name, count in COUNTS.items() for pair in frames.pairs(name, count, rng)]
    pairs += scenes.everyday(EVERYDAY, rng)
    pairs += unrelated(pairs, UNRELATED, rng)
    pairs += topics.pairs(TOPICS, rng)
    # A sentence that training shows is no test.
    shown = {(pair.premise, pair.hypothesis) for pair in pairs if pair.split == "train"}
    kept: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        key = (pair.premise, pair.hypothesis)
        if pair.split == "train" or key not in shown:
            kept.setdefault(key, pair)
    return list(kept.values())


def main() -> None:
    """Write the file and say what is in it."""
    pairs = everything()
    with OUTPUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(pair, column) for column in COLUMNS] for pair in pairs)
    for (split, label), count in sorted(Counter((pair.split, pair.label) for pair in pairs).items()):
        sys.stdout.write(f"{split:18}{label:15}{count:6}\n")


if __name__ == "__main__":
    main()
