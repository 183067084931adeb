"""A reranker that compares the embeddings of query and document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.config import Limits
from services.inference.models.distinct import Distinct
from services.inference.models.embedding import EmbeddingModel, EmbedOptions
from services.inference.models.reranking import Relevance, Reranker, RerankOptions, Scores, name_of
from services.inference.models.turns import turns


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
        self._limits = limits.model_copy(update={"max_client_batch_size": most})
        self._embedding = embedding

    @property
    def max_input_tokens(self) -> int:
        """Longest query, and longest document, in tokens, special tokens included."""
        return self._embedding.max_input_tokens

    @property
    def queue_size(self) -> int:
        """How many queries and documents wait."""
        return self._embedding.queue_size

    @property
    def utilization(self) -> float:
        """How busy its sessions are: 0 when idle, 1 when all of them run, more when inputs wait."""
        return self._embedding.utilization

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
        name = name_of(distinct)
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


async def _products(query: Scores, documents: Sequence[Scores]) -> Scores:
    """Return the cosines between vectors of length 1, [documents]."""
    products = np.empty(len(documents), dtype=np.float32)
    async for part in turns(len(documents)):
        products[part] = np.array(documents[part]) @ query
    return products.clip(-1, 1)  # rounding would let a text be more alike than the same
