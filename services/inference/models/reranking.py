"""Rerankers: documents ordered by relevance to a query.

A cross-encoder reads query and document together and says how relevant the one is to the other. A bi-encoder
embeds each by itself and compares; it is faster and less exact. A document that is given more than once is
computed once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.config import Limits
from services.inference.errors import InvalidInput
from services.inference.models.distinct import Distinct
from services.inference.models.texts import Violation, check_count, check_texts, problem_of
from services.inference.models.turns import turns
from services.inference.pairs import Truncation

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """How a call wants its documents ranked.

    Attributes:
        top_n: How many of the best results to return; None for all.
        raw_scores: Whether to return what the model computed instead of scores between 0 and 1.
        truncation: What to do with documents that are too long; a query is never cut.
        deadline: When the caller stops waiting, in seconds of `time.monotonic`; None for never.
    """

    top_n: int | None = None
    raw_scores: bool = False
    truncation: Truncation = "none"
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One document's relevance.

    Attributes:
        index: Its place among the documents of the call.
        score: An fp32 number, 0 to 1 unless raw scores were asked for.
    """

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a call gets.

    Attributes:
        results: The best documents, by descending score; equal scores in the order of the call.
        input_tokens: Tokens of all that was computed, special tokens and prompts included, after
            truncation.
        tokenize_seconds: How long tokenizing took.
        queue_seconds: The longest that an input waited to be run.
        inference_seconds: The longest run of a batch that carried an input.
    """

    results: list[Scored]
    input_tokens: int
    tokenize_seconds: float
    queue_seconds: float
    inference_seconds: float


@dataclass(frozen=True, slots=True)
class Relevance:
    """What a model says of distinct documents.

    Attributes:
        raw: What it computed for each, [documents].
        scores: The same between 0 and 1, [documents].
        input_tokens: As in `Ranking`, like the times.
        tokenize_seconds: As in `Ranking`.
        queue_seconds: As in `Ranking`.
        inference_seconds: As in `Ranking`.
    """

    raw: Scores
    scores: Scores
    input_tokens: int
    tokenize_seconds: float
    queue_seconds: float
    inference_seconds: float


class Reranker(ABC):
    """Ranks documents of many callers at once. Belongs to one event loop."""

    _limits: Limits
    """How much a call may hold."""

    @property
    @abstractmethod
    def max_input_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""

    @property
    @abstractmethod
    def queue_size(self) -> int:
        """How many inputs wait."""

    @property
    @abstractmethod
    def utilization(self) -> float:
        """How busy its sessions are: 0 when idle, 1 when all of them run, more when inputs wait."""

    @abstractmethod
    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text, special tokens included, without prompts, nothing cut.

        Raises:
            InvalidInput: There are no inputs or too many, or one is empty or far too long.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish the calls that were accepted, then give back threads and memory."""

    async def rerank(self, query: str, documents: Sequence[str], options: RerankOptions) -> Ranking:
        """Order documents by relevance to a query.

        Raises:
            InvalidInput: The query or a document is empty or far too long, there are no documents or too
                many, or `top_n` is not 1 to their number.
            InputTooLong: A document has too many tokens and truncation is none, or the query leaves no room
                for it.
            QueueFull: Too many inputs wait already.
            DeadlinePassed: The deadline passed while inputs waited.
            InferenceFailed: The model could not compute an input.
        """
        self._check(query, documents, options)
        distinct = await _distinct(documents)
        relevance = await self._compare(query, distinct, options)
        scores = relevance.raw if options.raw_scores else relevance.scores
        return Ranking(
            results=await _best(scores[distinct.places], options.top_n),
            input_tokens=relevance.input_tokens,
            tokenize_seconds=relevance.tokenize_seconds,
            queue_seconds=relevance.queue_seconds,
            inference_seconds=relevance.inference_seconds,
        )

    @abstractmethod
    async def _compare(self, query: str, distinct: Distinct[str], options: RerankOptions) -> Relevance:
        """Compute how relevant each text is."""

    def _check(self, query: str, documents: Sequence[str], options: RerankOptions) -> None:
        wrong: list[Violation] = []
        if problem := problem_of(query, self._limits):
            wrong.append(("query", problem))
        uncountable = check_count("documents", len(documents), "document", self._limits)
        wrong += uncountable or check_texts("documents", documents, self._limits)
        wrong += _check_top_n(options.top_n, len(documents))
        if wrong:
            raise InvalidInput(wrong)


def _check_top_n(top_n: int | None, count: int) -> list[Violation]:
    """Return what is wrong with `top_n`; without documents there is nothing to hold it against."""
    if top_n is not None and top_n < 1:
        return [("top_n", f"is {top_n}, must be at least 1")]
    if top_n is not None and count and top_n > count:
        return [("top_n", f"is {top_n}, more than the number of documents, {count}")]
    return []


async def _distinct(documents: Sequence[str]) -> Distinct[str]:
    """Find out which documents are alike, without holding the event loop for long."""
    distinct = Distinct[str]()
    async for part in turns(len(documents)):
        for document in documents[part]:
            distinct.add(document)
    return distinct


async def _best(scores: Scores, top_n: int | None) -> list[Scored]:
    """Return the `top_n` best of scores, [documents], without holding the event loop for long."""
    order = np.argsort(-scores, kind="stable")[:top_n]
    results: list[Scored] = []
    async for part in turns(len(order)):
        chosen = order[part]
        results += map(Scored, chosen.tolist(), scores[chosen].tolist())
    return results


def name_of(distinct: Distinct[str]) -> Callable[[int], str]:
    """Return what the caller calls the document of a place."""
    return lambda place: f"documents[{distinct.firsts[place]}]"
