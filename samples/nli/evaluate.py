"""Measures the sample adapter as the stock peft library loads it, and prints the tables of `README.md`.

From the repository's root, with what `README.md` says installed:

    python samples/nli/evaluate.py <folder of all-MiniLM-L6-v2>
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# These are in no extra of this project, see above.
import peft  # type: ignore[import-not-found]
import torch  # type: ignore[import-not-found]
import transformers  # type: ignore[import-not-found]

from samples.nli import data
from samples.nli.data import LABELS, Example

ADAPTER: Final = Path(__file__).parent / "adapter"
SHORT: Final = "ENC"
# Everyday pairs that no file of pairs holds, with the labels that are right.
PROBES: Final = (
    ("A man is playing a guitar on stage.", "Someone is making music.", "E"),
    ("The cat is sleeping on the sofa.", "The cat is awake.", "C"),
    ("She bought three apples.", "She bought fruit.", "E"),
    ("All the windows are closed.", "One of the windows is open.", "C"),
    ("Tom met Anna at the station.", "Anna was travelling to Berlin.", "N"),
    ("The shop opens at nine.", "The shop is closed at eight in the morning.", "E"),
    ("The meeting was moved from Monday to Tuesday.", "The meeting takes place on Monday.", "C"),
    ("It is raining heavily.", "The streets are wet.", "EN"),
    ("Nobody came to the party.", "The party was full of guests.", "C"),
)
# Texts to classify: the labels, and first the right one.
CLASSIFY: Final = (
    ("The striker scored twice in the second half.", ("sports", "cooking", "politics", "technology")),
    ("My parcel still has not arrived and nobody answers.", ("complaint", "praise", "question")),
    ("How do I reset my password?", ("question", "complaint", "praise")),
    ("Simmer the sauce for ten minutes and add the basil.", ("cooking", "sports", "politics", "technology")),
    ("Parliament votes on the new budget next week.", ("politics", "sports", "cooking", "technology")),
    ("The new processor doubles the speed of the laptop.", ("technology", "sports", "cooking", "politics")),
    ("I love this lamp, it looks even better than in the picture.", ("positive", "negative")),
    ("The food was awful and we waited an hour.", ("negative", "positive")),
    ("The pipe has burst and the cellar is filling with water!", ("urgent", "not urgent")),
)  # fmt: skip
BATCH: Final = 32
TEMPLATE: Final = "This example is {}."


class Judge:
    """The adapter over its base model."""

    def __init__(self, base: Path) -> None:
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        model = transformers.BertForSequenceClassification.from_pretrained(base, num_labels=len(LABELS))
        self._model = peft.PeftModel.from_pretrained(model, ADAPTER).eval()

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
        """Return the probability of each label for each pair.

        Args:
            pairs: Premises with what is claimed.
        """
        with torch.inference_mode():
            texts = self._tokenizer(list(pairs), padding=True, truncation=True, return_tensors="pt")
            found: list[list[float]] = self._model(**texts).logits.softmax(dim=1).tolist()
        return found


def likeliest(values: Sequence[float]) -> int:
    """Return which label is the likeliest.

    Args:
        values: The probability of each label.
    """
    return max(range(len(values)), key=values.__getitem__)


def by_phenomenon(judge: Judge, examples: Sequence[Example]) -> dict[str, tuple[int, int]]:
    """Return how many examples were labelled rightly, and how many there are, of each phenomenon and in all.

    Args:
        judge: The model.
        examples: What it is asked.
    """
    counts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    ordered = sorted(examples, key=lambda example: len(example.premise) + len(example.hypothesis))
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        said = judge.probabilities([(example.premise, example.hypothesis) for example in batch])
        for example, values in zip(batch, said, strict=True):
            for key in (example.phenomenon, "all"):
                hits, total = counts[key]
                counts[key] = (hits + (likeliest(values) == example.label), total + 1)
    return counts


def cell(counts: tuple[int, int] | None) -> str:
    """Return an accuracy as a cell of the table.

    Args:
        counts: How many were right, of how many; None where there were none.
    """
    return f"{counts[0] / counts[1]:.1%} ({counts[1]})" if counts else "-"


def table(judge: Judge) -> str:
    """Return the accuracy of each phenomenon in each set, as a Markdown table.

    Args:
        judge: The model.
    """
    sets = {
        "held-out words": data.generated("heldout_lexicon"),
        "held-out templates": data.generated("heldout_template"),
        "by hand, held back": data.handwritten()[1],
        "everyday, by hand": data.everyday(),
    }
    results = {name: by_phenomenon(judge, examples) for name, examples in sets.items()}
    found = {phenomenon for counts in results.values() for phenomenon in counts} - {"all"}
    lines = ["| phenomenon | " + " | ".join(sets) + " |", "|---|" + "---:|" * len(sets)]
    for phenomenon in (*sorted(found), "all"):
        cells = [cell(counts.get(phenomenon)) for counts in results.values()]
        lines.append(f"| {phenomenon} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def probes(judge: Judge) -> str:
    """Return what the model says of the probes, as a Markdown table.

    Args:
        judge: The model.
    """
    lines = ["| premise | hypothesis | right | said | probability |", "|---|---|---|---|---:|"]
    for premise, hypothesis, right in PROBES:
        values = judge.probabilities([(premise, hypothesis)])[0]
        said = likeliest(values)
        mark = "" if SHORT[said] in right else " **wrong**"
        expected = " or ".join(LABELS[SHORT.index(letter)] for letter in right)
        lines.append(f"| {premise} | {hypothesis} | {expected} | {LABELS[said]}{mark} | {max(values):.2f} |")
    return "\n".join(lines)


def classified(judge: Judge) -> str:
    """Return what the model makes of the texts to classify, as a Markdown table.

    Args:
        judge: The model.
    """
    entailment = LABELS.index("entailment")
    lines = ["| text | entailment of each label, the right one first |  |", "|---|---|---|"]
    for text, labels in CLASSIFY:
        asked = [(text, TEMPLATE.format(label)) for label in labels]
        scores = [values[entailment] for values in judge.probabilities(asked)]
        said = labels[scores.index(max(scores))]
        shown = ", ".join(f"{label} {score:.2f}" for label, score in zip(labels, scores, strict=True))
        lines.append(f"| {text} | {shown} | {'right' if said == labels[0] else 'wrong'} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure the sample NLI adapter.")
    parser.add_argument("base", type=Path, help="the folder of all-MiniLM-L6-v2")
    judge = Judge(parser.parse_args().base)
    sys.stdout.write("\n\n".join((table(judge), probes(judge), classified(judge))) + "\n")


if __name__ == "__main__":
    main()
