"""`Classify`, pair by pair: each text beside each label's hypothesis, asked for and kept as `Infer` does.

What a pair is answered with are logits, and the scores of the labels are made of them here. So a call of
Infer and one of Classify that judge the same pair share what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    InferResult,
    LabelScore,
)

from services.config import Limits
from services.router.items import infer
from services.router.items.messages import SLICE, TRUNCATIONS, slices
from services.router.items.question import Facts, Part, Unfit
from services.router.items.softmax import scores
from services.router.items.wire import tail

METHOD: Final = "/inglenook.nli.v1.NliService/Classify"

SLOT: Final = "{}"
DEFAULT_TEMPLATE: Final = "This example is {}."
MAX_TEMPLATE_CHARACTERS: Final = 1_000


class ClassifyQuestion(infer.PairQuestion):
    """A call of Classify, its items being text beside label, one text after the other.

    Satisfies `Question`.
    """

    exact = False
    """A refusal names pairs, which the caller has never heard of."""

    def __init__(self, request: ClassifyRequest, model: str) -> None:
        template = request.hypothesis_template or DEFAULT_TEMPLATE
        self.labels = list(request.labels)
        hypotheses = [template.replace(SLOT, label, 1) for label in self.labels]
        super().__init__(list(product(request.inputs, hypotheses)), model, request.truncation)
        self._multi_label = request.multi_label

    @classmethod
    def of(cls, request: ClassifyRequest, model: str, limits: Limits) -> ClassifyQuestion | None:
        """Take a request for `model` apart; None if only the backend can tell what is wrong with it."""
        inputs, labels = len(request.inputs), len(request.labels)
        if not 0 < inputs * labels <= limits.max_client_batch_size:
            return None
        fits = _most_bytes(request) <= limits.max_message_bytes
        known = request.truncation in TRUNCATIONS
        judged = _is_template(request.hypothesis_template) and _are_labels(list(request.labels))
        return cls(request, model) if fits and known and judged else None

    def read(self, content: bytes, count: int) -> Part:
        """Return the results of a response of Infer.

        Raises:
            Garbled: There are not so many.
            Unfit: They have no logits.
        """
        part = infer.read_results(content, count)
        if not part.lasting:
            raise Unfit
        return part

    async def write(self, values: Sequence[bytes], facts: Facts) -> bytes:
        """Return a response with the labels of each text, best first; equal scores keep their order."""
        raw: list[tuple[float, float]] = []
        async for part in slices(len(values)):
            found = (InferResult.FromString(value).raw_scores for value in values[part])
            raw += [(one.entailment, one.opposite) for one in found]
        response, width = ClassifyResponse(), len(self.labels)
        async for part in slices(self.count // width, max(1, SLICE // width)):
            for text in range(part.start, part.stop):
                judged = scores(raw[text * width : (text + 1) * width], multi_label=self._multi_label)
                order = sorted(range(width), key=judged.__getitem__, reverse=True)
                ranked = [LabelScore(label=self.labels[place], score=judged[place]) for place in order]
                response.results.add().scores.extend(ranked)
        return response.SerializeToString() + tail(facts)


def _most_bytes(request: ClassifyRequest) -> int:
    """Return how large, at most, the pairs of a request are.

    Each text stands beside each label and each label beside each text, so that a small message may make one
    that no backend takes, or no memory.
    """
    template = len(request.hypothesis_template.encode())
    hypotheses = sum(len(label.encode()) + template for label in request.labels)
    return request.ByteSize() * len(request.labels) + hypotheses * len(request.inputs)


def _is_template(template: str) -> bool:
    """Say whether labels can be put into a template; an empty one stands for the default."""
    return not template or (template.count(SLOT) == 1 and len(template) <= MAX_TEMPLATE_CHARACTERS)


def _are_labels(labels: Sequence[str]) -> bool:
    """Say whether no label is empty, and no two are equal."""
    return len(set(labels)) == len(labels) and not any(not label or label.isspace() for label in labels)
