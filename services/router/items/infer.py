"""`Infer`, pair by pair. What is kept is the result with its logits, so that labels can be scored from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from inglenook.common.v1 import Truncation
from inglenook.nli.v1 import InferRequest, InferResponse, InferResult, Pair

from services.config import Limits
from services.router.cache.key import Field, KeySpace
from services.router.errors import Garbled
from services.router.items.messages import TRUNCATIONS, read_response, slices, tokens_of
from services.router.items.question import Facts, Part
from services.router.items.wire import tail

METHOD: Final = "/inglenook.nli.v1.NliService/Infer"
TASK: Final = "infer"


class PairQuestion:
    """What calls have in common whose items are pairs, asked for with Infer and their logits.

    Args:
        pairs: Premises and hypotheses.
        model: Public name of the model.
        truncation: What to do with pairs that are too long.
    """

    task = TASK
    method = METHOD

    def __init__(
        self, pairs: Sequence[tuple[str, str]], model: str, truncation: Truncation.ValueType
    ) -> None:
        self.pairs = pairs
        self.count = len(pairs)
        self.fields: tuple[Field, ...] = (TRUNCATIONS[truncation],)
        self._asked = InferRequest(model=model, truncation=truncation, raw_scores=True)

    def keys(self, space: KeySpace, part: slice) -> list[bytes]:
        """Return what the results of these pairs are found by."""
        return [space.key(premise, hypothesis) for premise, hypothesis in self.pairs[part]]

    def request(self, positions: Sequence[int]) -> bytes:
        """Return a request for the pairs at these positions."""
        asked = InferRequest()
        asked.CopyFrom(self._asked)
        chosen = (self.pairs[position] for position in positions)
        asked.pairs.extend([Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in chosen])
        return asked.SerializeToString()


class InferQuestion(PairQuestion):
    """A call of Infer. Satisfies `Question`."""

    exact = True

    def __init__(self, request: InferRequest, model: str) -> None:
        pairs = [(pair.premise, pair.hypothesis) for pair in request.pairs]
        super().__init__(pairs, model, request.truncation)
        self._raw_scores = request.raw_scores

    @classmethod
    def of(cls, request: InferRequest, model: str, limits: Limits) -> InferQuestion | None:
        """Take a request for `model` apart; None if only the backend can tell what is wrong with it."""
        countable = 0 < len(request.pairs) <= limits.max_client_batch_size
        known = request.truncation in TRUNCATIONS
        return cls(request, model) if countable and known else None

    def read(self, content: bytes, count: int) -> Part:
        """Return the results of a response.

        Raises:
            Garbled: There are not so many.
        """
        return read_results(content, count)

    async def write(self, values: Sequence[bytes], facts: Facts) -> bytes:
        """Return a response with these results, without their logits unless the request asked for them."""
        response = InferResponse()
        async for part in slices(len(values)):
            for value in values[part]:
                result = response.results.add()
                result.MergeFromString(value)
                if not self._raw_scores:
                    result.ClearField("raw_scores")
        return response.SerializeToString() + tail(facts)


def read_results(content: bytes, count: int) -> Part:
    """Return the results of a response of Infer that was asked for logits.

    A backend that knows no logits answers all the same; its results are not kept.

    Raises:
        Garbled: There are not so many results, or they hold what is no number.
    """
    response = read_response(InferResponse, content)
    if len(response.results) != count or not all(map(finite, response.results)):
        raise Garbled
    return Part(
        values=[result.SerializeToString() for result in response.results],
        lasting=all(result.HasField("raw_scores") for result in response.results),
        model=response.model,
        input_tokens=tokens_of(response.usage),
        timings=response.timings,
    )


def finite(result: InferResult) -> bool:
    """Say whether probabilities and logits are numbers. What a result does not have is 0."""
    raw = result.raw_scores
    told = (result.entailment, result.neutral, result.contradiction, raw.entailment, raw.opposite)
    return all(map(math.isfinite, told))
