"""An NLI model that is ready: whether texts follow from texts, and which labels fit them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.config import Limits
from services.inference.batching import Batcher
from services.inference.errors import InvalidInput
from services.inference.models.batched import BatchedModel
from services.inference.models.distinct import Distinct
from services.inference.models.labels import Roles
from services.inference.models.logits import Logits, softmax
from services.inference.models.texts import check_count, problem_of
from services.inference.models.turns import turns
from services.inference.models.zero_shot import SLOT, ClassifyOptions, LabelScore, rank, score, violations
from services.inference.pairs import Pairs, Truncation
from services.inference.tokenizer import Tokenizer


class Pair(NamedTuple):
    """What is given, and what may or may not follow from it."""

    premise: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class InferOptions:
    """How a call wants its pairs judged.

    Attributes:
        truncation: What to do with pairs that are too long; the premise is cut, never the hypothesis.
        deadline: When the caller stops waiting, in seconds of `time.monotonic`; None for never.
    """

    truncation: Truncation = "none"
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """Probabilities for one pair.

    They add up to 1, unless the model has one class for everything that is not entailment: that class is
    what is missing.

    Attributes:
        entailment: That the hypothesis follows from the premise.
        neutral: That the premise says nothing about it; None if the model has no such class.
        contradiction: That the premise rules it out; None if the model has no such class.
        logits: What the probabilities are made of: the logit of entailment, and that of its opposite.
    """

    entailment: float
    neutral: float | None
    contradiction: float | None
    logits: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call has cost.

    Attributes:
        input_tokens: Tokens of the pairs that were computed, special tokens included, after truncation. Equal
            pairs are computed once.
        tokenize_seconds: How long tokenizing took.
        queue_seconds: The longest that a pair waited to be run.
        inference_seconds: The longest run of a batch that carried a pair.
    """

    input_tokens: int
    tokenize_seconds: float
    queue_seconds: float
    inference_seconds: float


@dataclass(frozen=True, slots=True)
class Inferences:
    """What a call of `infer` gets.

    Attributes:
        results: One per pair, in the order of the pairs.
        cost: What it has cost.
    """

    results: list[Inference]
    cost: Cost


@dataclass(frozen=True, slots=True)
class Classifications:
    """What a call of `classify` gets.

    Attributes:
        results: For each input, every label by descending score; equal scores keep the order of the request.
        cost: What it has cost.
    """

    results: list[list[LabelScore]]
    cost: Cost


class EntailmentModel(BatchedModel):
    """Judges pairs of many callers at once. Belongs to one event loop.

    Args:
        limits: How much a call may hold.
        tokenizer: Its tokenizer.
        batcher: Its batcher.
        roles: What its logits mean.
    """

    def __init__(self, limits: Limits, tokenizer: Tokenizer, batcher: Batcher, roles: Roles) -> None:
        super().__init__(limits, tokenizer, batcher)
        self._roles = roles

    async def infer(self, pairs: Sequence[Pair], options: InferOptions) -> Inferences:
        """Judge premise-hypothesis pairs.

        Raises:
            InvalidInput: There are no pairs or too many, or a text is empty or far too long.
            InputTooLong: A pair has too many tokens and truncation is none, or its hypothesis leaves no room.
            QueueFull: Too many inputs wait already.
            DeadlinePassed: The deadline passed while pairs waited.
            InferenceFailed: The model could not compute a pair.
        """
        await self._check_pairs(pairs)
        premises, hypotheses = Distinct[str](), Distinct[str]()
        distinct = Distinct[tuple[int, int]]()
        async for part in turns(len(pairs)):
            for premise, hypothesis in pairs[part]:
                distinct.add((premises.add(premise), hypotheses.add(hypothesis)))

        def name(index: int) -> str:
            return f"pairs[{distinct.firsts[index]}]"

        asked = Pairs(
            firsts=premises.values,
            seconds=hypotheses.values,
            places=distinct.values,
            cut="first",
            names=lambda index: (f"{name(index)}.premise", f"{name(index)}.hypothesis"),
        )
        logits, cost = await self._run(asked, options, name)
        probabilities = softmax(logits)
        results: list[Inference] = []
        async for part in turns(len(pairs)):
            places = distinct.places[part]
            results += map(self._inference, probabilities[places].tolist(), logits[places].tolist())
        return Inferences(results, cost)

    async def classify(
        self, inputs: Sequence[str], labels: Sequence[str], options: ClassifyOptions
    ) -> Classifications:
        """Score labels for texts, by whether a hypothesis with the label follows from the text.

        The numbers are those of the zero-shot pipeline in transformers (`zero_shot`).

        Raises:
            InvalidInput: There are no texts or labels, or too many; one is empty or far too long; a label is
                there twice; or the template does not hold `{}` once.
            InputTooLong: A text is too long beside a hypothesis and truncation is none, or a hypothesis
                leaves no room.
            QueueFull: Too many inputs wait already.
            DeadlinePassed: The deadline passed while texts waited.
            InferenceFailed: The model could not compute a text beside a hypothesis.
        """
        if wrong := violations(inputs, labels, options, self._limits):
            raise InvalidInput(wrong)
        texts = Distinct[str]()
        async for part in turns(len(inputs)):
            for text in inputs[part]:
                texts.add(text)
        count, width = len(texts.values), len(labels)

        def name(index: int) -> str:
            return f"inputs[{texts.firsts[index // width]}]"

        asked = Pairs(
            firsts=texts.values,
            seconds=[options.hypothesis_template.replace(SLOT, label, 1) for label in labels],
            places=[divmod(index, width) for index in range(count * width)],
            cut="first",
            names=lambda index: (name(index), f"labels[{index % width}]"),
        )
        logits, cost = await self._run(asked, options, name)
        scores = score(logits.reshape(count, width, -1), self._roles, multi_label=options.multi_label)
        ranking = await rank(scores)
        return Classifications([ranking[place] for place in texts.places], cost)

    async def _run(
        self, asked: Pairs, options: InferOptions | ClassifyOptions, name: Callable[[int], str]
    ) -> tuple[Logits, Cost]:
        """Return the logits of each pair, [pairs, classes], and what they cost."""
        tokenized = await self._tokenizer.encode_pairs(asked, options.truncation)
        encodings = tokenized.encodings
        outcome = await self._batcher.submit(encodings, deadline=options.deadline, name=name)
        logits = np.empty((len(outcome.rows), len(outcome.rows[0])))
        async for part in turns(len(outcome.rows)):
            logits[part] = outcome.rows[part]
        cost = Cost(
            input_tokens=sum(map(len, encodings)),
            tokenize_seconds=tokenized.seconds,
            queue_seconds=outcome.queue_seconds,
            inference_seconds=outcome.inference_seconds,
        )
        return logits, cost

    def _inference(self, probabilities: Sequence[float], logits: Sequence[float]) -> Inference:
        """Give the probabilities of the classes their names."""
        roles = self._roles
        return Inference(
            entailment=probabilities[roles.entailment],
            neutral=None if roles.neutral is None else probabilities[roles.neutral],
            contradiction=None if roles.contradiction is None else probabilities[roles.contradiction],
            logits=(logits[roles.entailment], logits[roles.opposite]),
        )

    async def _check_pairs(self, pairs: Sequence[Pair]) -> None:
        wrong = check_count("pairs", len(pairs), "pair", self._limits)
        if wrong:
            raise InvalidInput(wrong)
        async for part in turns(len(pairs)):
            for index, pair in enumerate(pairs[part], part.start):
                for side, text in zip(Pair._fields, pair, strict=True):
                    if problem := problem_of(text, self._limits):
                        wrong.append((f"pairs[{index}].{side}", problem))
        if wrong:
            raise InvalidInput(wrong)
