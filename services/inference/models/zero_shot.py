"""Zero-shot classification: labels that no model was trained on, judged as hypotheses about a text.

Each label is put into a template, and an NLI model is asked whether that hypothesis follows from the text
(Yin et al. 2019, arXiv:1909.00161). The numbers are those of the zero-shot pipeline in transformers:

- Labels that exclude each other share a softmax over their logits of entailment.
- A label on its own, also when it is the only one, gets a softmax over its logits of entailment and of
  the opposite: contradiction, or the other class of a model with two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.config import Limits
from services.inference.models.labels import Roles
from services.inference.models.logits import Logits
from services.inference.models.texts import Violation, check_count, check_texts, problem_of
from services.inference.models.turns import turns
from services.inference.pairs import Truncation

SLOT: Final = "{}"
"""Where a template takes the label."""

DEFAULT_TEMPLATE: Final = "This example is {}."

MAX_TEMPLATE_CHARACTERS: Final = 1_000
"""A hypothesis is made of the template for every label, so that a long one would be multiplied."""

Scores: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """How a call wants its texts classified.

    Attributes:
        hypothesis_template: Sentence that a label is put into, in place of `{}`.
        multi_label: Whether labels are judged each on its own. Else they exclude each other.
        truncation: What to do with texts that are too long beside a hypothesis; hypotheses are never cut.
        deadline: When the caller stops waiting, in seconds of `time.monotonic`; None for never.
    """

    hypothesis_template: str = DEFAULT_TEMPLATE
    multi_label: bool = False
    truncation: Truncation = "none"
    deadline: float | None = None


class LabelScore(NamedTuple):
    """A label's place in the request, and its score from 0 to 1."""

    place: int
    score: float


def violations(
    inputs: Sequence[str], labels: Sequence[str], options: ClassifyOptions, limits: Limits
) -> list[Violation]:
    """Return everything that is wrong with what a call wants classified."""
    wrong = check_count("inputs", len(inputs), "text", limits) or check_texts("inputs", inputs, limits)
    wrong += check_count("labels", len(labels), "label", limits) or _wrong_labels(labels, limits)
    pairs, most = len(inputs) * len(labels), limits.max_client_batch_size
    if max(len(inputs), len(labels)) <= most < pairs:
        told = f"times {len(inputs)} inputs are {pairs} pairs to judge, {most} at most per call"
        wrong.append(("labels", f"has {len(labels)} labels, {told}"))
    return wrong + _wrong_template(options.hypothesis_template)


def score(logits: Logits, roles: Roles, *, multi_label: bool) -> Scores:
    """Return a score for each text and label, from logits [texts, labels, classes].

    In the precision in which they are sent: what looks equal to the caller is ranked as equal.
    """
    if multi_label or logits.shape[1] == 1:
        against = logits[..., [roles.opposite, roles.entailment]].reshape(-1, 2).tolist()
        found = [_softmax(row)[1] for row in against]
    else:
        found = [share for row in logits[..., roles.entailment].tolist() for share in _softmax(row)]
    return np.array(found, dtype=np.float32).reshape(logits.shape[:2])


async def rank(scores: Scores) -> list[list[LabelScore]]:
    """Return the labels of each text by descending score, from scores [texts, labels]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    values = np.take_along_axis(scores, order, axis=1).ravel()
    places = order.ravel()
    flat: list[LabelScore] = []
    async for part in turns(len(places)):
        flat += map(LabelScore, places[part].tolist(), values[part].tolist())
    width = scores.shape[1]
    return [flat[first : first + width] for first in range(0, len(flat), width)]


def _softmax(logits: Sequence[float]) -> list[float]:
    """Return probabilities, to the last bit as the router makes them of logits that it has kept.

    numpy's exponential and sum may differ from these in the last place, by the machine they run on.
    """
    most = max(logits)
    powers = [math.exp(logit - most) for logit in logits]
    total = math.fsum(powers)
    return [power / total for power in powers]


def _wrong_labels(labels: Sequence[str], limits: Limits) -> list[Violation]:
    """Return what is wrong with labels by themselves."""
    wrong = []
    first: dict[str, int] = {}
    for index, label in enumerate(labels):
        same = first.setdefault(label, index)
        problem = problem_of(label, limits) or (f"is the same as labels[{same}]" if same != index else "")
        if problem:
            wrong.append((f"labels[{index}]", problem))
    return wrong


def _wrong_template(template: str) -> list[Violation]:
    """Return what is wrong with a template. Braces of other kinds mean nothing and stay as they are."""
    slots = template.count(SLOT)
    if slots != 1:
        found = "does not contain it" if not slots else f"contains it {slots} times"
        return [("hypothesis_template", f"must contain {SLOT} once, where the label goes, and {found}")]
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        told = f"has {len(template)} characters, {MAX_TEMPLATE_CHARACTERS} at most"
        return [("hypothesis_template", told)]
    return []
