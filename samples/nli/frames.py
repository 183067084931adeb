"""Reads the frames of a phenomenon: a premise with hypotheses that follow, are open, or are ruled out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from samples.nli.slots import Slots

FRAMES: Final = Path(__file__).parent / "phenomena"
LABELS: Final = {"E": "entailment", "N": "neutral", "C": "contradiction"}
# Every so many frames one is kept from training.
HELD_OUT_EVERY: Final = 6
HELD_OUT_AT: Final = 3


@dataclass(frozen=True)
class Pair:
    """A row of `generated.tsv`."""

    premise: str
    hypothesis: str
    label: str
    phenomenon: str
    template: str
    split: str


@dataclass
class Frame:
    """A premise and its hypotheses, each a label with a text, all with slots in them."""

    name: str
    premise: str
    hypotheses: list[tuple[str, str]] = field(default_factory=list)

    def fill(self, rng: random.Random, *, heldout: bool) -> Iterator[tuple[str, str, str]]:
        """Yield one pair for each label that the frame has, about the same people and things.

        Args:
            rng: Where every choice comes from.
            heldout: Whether the words are those that training never shows.
        """
        for label in LABELS.values():
            texts = [text for kind, text in self.hypotheses if kind == label]
            if texts:
                slots = Slots(rng, heldout=heldout)
                yield slots.fill(self.premise), slots.fill(rng.choice(texts)), label


def load(phenomenon: str) -> list[Frame]:
    """Return the frames of a phenomenon, in the file's order.

    Args:
        phenomenon: The file's name in `phenomena`, without its ending.
    """
    frames: list[Frame] = []
    for line in (FRAMES / f"{phenomenon}.txt").read_text(encoding="utf-8").splitlines():
        kind, _, text = line.partition(" ")
        if kind == "P":
            frames.append(Frame(f"{phenomenon}-{len(frames):02d}", text))
        elif kind in LABELS:
            frames[-1].hypotheses.append((LABELS[kind], text))
    return frames


def is_held_out(index: int) -> bool:
    """Tell whether a frame, or one of several sentence patterns, is kept from training.

    Args:
        index: Its place in the list.
    """
    return index % HELD_OUT_EVERY == HELD_OUT_AT


def pairs(phenomenon: str, count: int, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs of a phenomenon: `count` to train with, an eighth of that for each kind of held-out.

    Args:
        phenomenon: The phenomenon's name.
        count: How many training pairs are wanted, about.
        rng: Where every choice comes from.
    """
    frames = load(phenomenon)
    shown = [frame for index, frame in enumerate(frames) if not is_held_out(index)]
    hidden = [frame for index, frame in enumerate(frames) if is_held_out(index)]
    wanted = (("train", shown, count, False), ("heldout_lexicon", shown, count // 8, True),
              ("heldout_template", hidden, count // 8, False))  # fmt: skip
    for split, chosen, number, heldout in wanted:
        made = 0
        while made < number:
            frame = chosen[made // 3 % len(chosen)]
            for premise, hypothesis, label in frame.fill(rng, heldout=heldout):
                yield Pair(premise, hypothesis, label, phenomenon, frame.name, split)
                made += 1
