"""What the expected scores in tests/golden/zero_shot.npz were computed from: models, texts and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.goldens import GOLDEN
from tests.support.tiny import Shape, write_model

ZERO_SHOT_FILE: Final = GOLDEN / "zero_shot.npz"

MAX_TOKENS: Final = 64


def names(*classes: str) -> dict[str, Any]:
    """Return what `config.json` says of the classes of a model, in the order of its outputs."""
    return {
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
    }


CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "contradiction_first": ("contradiction", "entailment", "neutral"),
    "contradiction_last": ("ENTAILMENT", "NEUTRAL", "CONTRADICTION"),
    "entailment_first": ("entailment", "not_entailment"),
    "entailment_last": ("not_entailment", "entailment"),
}
"""The classes of each model. With these, the pipeline takes the right one for contradiction: it does not look
for its name."""


def write_nli_model(folder: Path, *classes: str, **options: Any) -> Path:
    """Write a small BERT with random weights that tells these classes apart, and return its folder."""
    shape = Shape(max_position_embeddings=MAX_TOKENS)
    options = {"shape": shape, "pooling": None, **options}
    return write_model(folder, labels=len(classes), **options, **names(*classes))


@dataclass(frozen=True, slots=True)
class Case:
    """Texts to classify.

    Attributes:
        labels: The labels.
        multi_label: Whether each is judged on its own.
        template: Sentence that they are put into; None for the default.
        texts: The texts.
    """

    labels: tuple[str, ...]
    multi_label: bool = False
    template: str | None = None
    texts: tuple[str, ...] = (
        "the cat sits on the mat",
        "?",
        "A dog runs fast, the tree is green.",
        "unknownwords inside a text: xyz 123",
        "\u6c34 \u0436\u0448 e\u0301 \U0001f389 Stra\u00dfe",
        "the cat sits on the mat. " * 20,
        "x " * 80 + "the green tree",
    )


CASES: Final[Mapping[str, Case]] = {
    "labels": Case(("cat", "dog", "slow tree", "?", "\u6c34", "{green}")),
    "multi_label": Case(("cat", "dog", "slow tree", "?", "\u6c34", "{green}"), multi_label=True),
    "one_label": Case(("cat",)),
    "one_of_many": Case(("green",), multi_label=True),
    "template": Case(("cat", "dog"), template="the {} runs on a mat, fast!"),
    "bare_template": Case(("the dog runs", "a tree is green"), multi_label=True, template="{}"),
    "long_hypothesis": Case(("cat", "mat " * 30), template="\u00bb{}\u00ab " + "a dog sits. " * 5),
}
