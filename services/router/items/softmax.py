"""Scores of labels from logits, to the last bit as the nli service makes them.

`services.inference.models.zero_shot` computes the same in the same way; what is computed here and there is
defined by `math.exp` and `math.fsum`, whose results depend on no order and on no vector unit.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence


def softmax(logits: Sequence[float]) -> list[float]:
    """Return probabilities; the largest logit is taken off first, so nothing overflows."""
    most = max(logits)
    powers = [math.exp(logit - most) for logit in logits]
    total = math.fsum(powers)
    return [power / total for power in powers]


def scores(raw: Sequence[tuple[float, float]], *, multi_label: bool) -> list[float]:
    """Return the score of each label of one text, in the precision in which they are sent.

    Args:
        raw: Logit of entailment and logit of the opposite, for each label.
        multi_label: Whether labels are judged each on its own; a single one always is.
    """
    if multi_label or len(raw) == 1:
        found = [softmax((opposite, entailment))[1] for entailment, opposite in raw]
    else:
        found = softmax([entailment for entailment, _ in raw])
    return array("f", found).tolist()
