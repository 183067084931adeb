"""Rerankers: documents ordered by relevance to a query.

A cross-encoder reads query and document together and says how relevant the one is to the other. A bi-encoder
embeds each by itself and compares; it is faster and less exact. A document that is given more than once is
computed once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.config import Limits
from services.inference.batching import Batcher
from services.inference.errors import InvalidInput
from services.inference.models.distinct import Distinct
from services.inference.models.embedding import EmbeddingModel, EmbedOptions
from services.inference.models.texts import Violation, check_count, check_texts, problem_of, require_texts
from services.inference.pairs import Pairs, Truncation
from services.inference.tokenizer import Tokenizer

Scores = NDArray[np.float32]

SLICE: Final = 256
"""Documents handled between two turns of the event loop."""


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
    """Ranks documents of many callers at once. Belongs to one event loop.

    Args:
        limits: How much a call may hold.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    @property
    @abstractmethod
    def max_input_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""

    @property
    @abstractmethod
    def queue_size(self) -> int:
        """How many inputs wait."""

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


class CrossEncoder(Reranker):
    """Reads query and document together.

    A model with one logit says how relevant the document is; that logit is the raw score. One with two logits
    tells irrelevant (0) from relevant (1), as in Nogueira and Cho 2019, "Passage Re-ranking with BERT"
    (arXiv:1901.04085); the raw score is the second minus the first, the logarithm of the odds. Either way
    the score is the sigmoid of the raw score: with two logits, the share of the second in their softmax.

    Args:
        limits: How much a call may hold.
        tokenizer: Its tokenizer.
        batcher: Its batcher; a row holds one or two logits.
    """

    def __init__(self, limits: Limits, tokenizer: Tokenizer, batcher: Batcher) -> None:
        super().__init__(limits)
        self._tokenizer = tokenizer
        self._batcher = batcher

    @property
    def max_input_tokens(self) -> int:
        """Longest query and document together, in tokens, special tokens included."""
        return self._tokenizer.max_tokens

    @property
    def queue_size(self) -> int:
        """How many pairs wait."""
        return self._batcher.queue_size

    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text by itself, special tokens included, nothing cut.

        Raises:
            InvalidInput: There are no inputs or too many, or one is empty or far too long.
        """
        require_texts("inputs", inputs, self._limits)
        return await self._tokenizer.count(inputs)

    async def close(self) -> None:
        """Finish the calls that were accepted, then give back threads and memory."""
        await self._batcher.close()
        self._tokenizer.close()

    async def _compare(self, query: str, distinct: Distinct[str], options: RerankOptions) -> Relevance:
        name = _name_of(distinct)
        pairs = Pairs(
            firsts=[query],
            seconds=distinct.values,
            places=[(0, place) for place in range(len(distinct.values))],
            cut="second",
            names=lambda place: ("query", name(place)),
        )
        tokenized = await self._tokenizer.encode_pairs(pairs, options.truncation)
        outcome = await self._batcher.submit(tokenized.encodings, deadline=options.deadline, name=name)
        odds = _log_odds(outcome.rows)
        return Relevance(
            raw=odds.astype(np.float32),
            scores=_sigmoid(odds).astype(np.float32),
            input_tokens=sum(map(len, tokenized.encodings)),
            tokenize_seconds=tokenized.seconds,
            queue_seconds=outcome.queue_seconds,
            inference_seconds=outcome.inference_seconds,
        )


class BiEncoder(Reranker):
    """Embeds query and documents with one model and compares.

    The raw score is the cosine of the two embeddings, -1 to 1. The score is (1 + cosine) / 2, which keeps the
    order and lies between 0 and 1; it is no probability.

    The query waits among the documents, so a call may hold one document less than the queue takes.

    Args:
        embedding: The embedding model, with prompts for queries and documents.
        limits: How much a call may hold; `max_queue_size` is 2 or more.
    """

    def __init__(self, embedding: EmbeddingModel, limits: Limits) -> None:
        most = min(limits.max_client_batch_size, limits.max_queue_size - 1)
        super().__init__(limits.model_copy(update={"max_client_batch_size": most}))
        self._embedding = embedding

    @property
    def max_input_tokens(self) -> int:
        """Longest query, and longest document, in tokens, special tokens included."""
        return self._embedding.max_input_tokens

    @property
    def queue_size(self) -> int:
        """How many queries and documents wait."""
        return self._embedding.queue_size

    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text, special tokens included, without prompts, nothing cut.

        Raises:
            InvalidInput: There are no inputs or too many, or one is empty or far too long.
        """
        return await self._embedding.count_tokens(inputs)

    async def close(self) -> None:
        """Finish the calls that were accepted, then give back threads and memory."""
        await self._embedding.close()

    async def _compare(self, query: str, distinct: Distinct[str], options: RerankOptions) -> Relevance:
        name = _name_of(distinct)
        embeddings = await self._embedding.embed_search(
            query,
            distinct.values,
            EmbedOptions(truncation=options.truncation, deadline=options.deadline),
            lambda place: name(place - 1) if place else "query",
        )
        cosines = await _products(embeddings.vectors[0], embeddings.vectors[1:])
        return Relevance(
            raw=cosines,
            scores=np.asarray((1 + cosines) / 2, dtype=np.float32),
            input_tokens=embeddings.input_tokens,
            tokenize_seconds=embeddings.tokenize_seconds,
            queue_seconds=embeddings.queue_seconds,
            inference_seconds=embeddings.inference_seconds,
        )


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
    for begin in range(0, len(documents), SLICE):
        if begin:
            await asyncio.sleep(0)
        for document in documents[begin : begin + SLICE]:
            distinct.add(document)
    return distinct


def _name_of(distinct: Distinct[str]) -> Callable[[int], str]:
    """Return what the caller calls the document of a place."""
    return lambda place: f"documents[{distinct.firsts[place]}]"


def _log_odds(rows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return a raw score for each row of one or two logits."""
    logits = np.concatenate(rows).reshape(len(rows), -1).astype(np.float64)
    odds = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    return np.asarray(odds)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)), without overflow for large negative x."""
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


async def _products(query: Scores, documents: Sequence[Scores]) -> Scores:
    """Return the cosines between vectors of length 1, [documents]."""
    products = np.empty(len(documents), dtype=np.float32)
    for begin in range(0, len(documents), SLICE):
        if begin:
            await asyncio.sleep(0)
        products[begin : begin + SLICE] = np.array(documents[begin : begin + SLICE]) @ query
    return products.clip(-1, 1)  # rounding would let a text be more alike than the same


async def _best(scores: Scores, top_n: int | None) -> list[Scored]:
    """Return the `top_n` best of scores, [documents], without holding the event loop for long."""
    order = np.argsort(-scores, kind="stable")[:top_n]
    results: list[Scored] = []
    for begin in range(0, len(order), SLICE):
        if begin:
            await asyncio.sleep(0)
        part = order[begin : begin + SLICE]
        results += map(Scored, part.tolist(), scores[part].tolist())
    return results
