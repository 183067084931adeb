"""An embedding model that is ready: tokenizer, batcher and sessions behind one method."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.config import EmbedModel, Limits, RerankModel
from services.inference.batching import Batcher
from services.inference.errors import InvalidInput
from services.inference.models.batched import BatchedModel
from services.inference.models.texts import check_count, check_texts
from services.inference.pairs import Truncation
from services.inference.pooling import Vectors, finish
from services.inference.tokenizer import Tokenized, Tokenizer

InputType = Literal["query", "document"]

SLICE: Final = 256
"""Embeddings finished between two turns of the event loop."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How a call wants its texts embedded.

    Attributes:
        input_type: Which prompt prefix is put before the texts; None for none.
        dimensions: How many leading components to keep; None for all.
        normalize: Whether to scale embeddings to length 1.
        truncation: What to do with texts that are too long.
        deadline: When the caller stops waiting, in seconds of `time.monotonic`; None for never.
        field: What the caller calls its texts, for error messages.
    """

    input_type: InputType | None = None
    dimensions: int | None = None
    normalize: bool = True
    truncation: Truncation = "none"
    deadline: float | None = None
    field: str = "inputs"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What a call gets.

    Attributes:
        vectors: One per input, fp32 [dimensions], in the order of the inputs.
        input_tokens: Tokens of all inputs, special tokens and prompts included, after truncation.
        tokenize_seconds: How long tokenizing took.
        queue_seconds: The longest that an input waited to be run.
        inference_seconds: The longest run of a batch that carried an input.
    """

    vectors: list[Vectors]
    input_tokens: int
    tokenize_seconds: float
    queue_seconds: float
    inference_seconds: float


class EmbeddingModel(BatchedModel):
    """Embeds texts of many callers at once. Belongs to one event loop.

    Args:
        section: What the configuration says about the model: its prompts.
        limits: How much a call may hold.
        tokenizer: Its tokenizer.
        batcher: Its batcher.
        dimensions: Length of a full embedding.
    """

    def __init__(
        self,
        section: EmbedModel | RerankModel,
        limits: Limits,
        tokenizer: Tokenizer,
        batcher: Batcher,
        dimensions: int,
    ) -> None:
        super().__init__(limits, tokenizer, batcher)
        self._prompts = {"query": section.query_prompt, "document": section.document_prompt, None: ""}
        self._dimensions = dimensions

    @property
    def dimensions(self) -> int:
        """Length of a full embedding."""
        return self._dimensions

    async def embed(self, inputs: Sequence[str], options: EmbedOptions) -> Embeddings:
        """Embed texts.

        Raises:
            InvalidInput: There are no inputs or too many, one is empty or far too long, or `dimensions`
                is out of range.
            InputTooLong: A text has too many tokens, and truncation is none.
            QueueFull: Too many inputs wait already.
            DeadlinePassed: The deadline passed while inputs waited.
            InferenceFailed: The model could not compute an input.
        """
        self._check(inputs, options)
        prompt = self._prompts[options.input_type]
        texts = [prompt + text for text in inputs] if prompt else inputs
        name = f"{options.field}[{{}}]".format
        tokenized = await self._tokenizer.encode(texts, options.truncation, name=name)
        return await self._run(tokenized, options, name)

    async def texts_of(
        self, inputs: Iterable[Sequence[int]], count: int, field: str = "token_inputs"
    ) -> list[str]:
        """Return the texts that token ids of the model's own vocabulary stand for.

        Args:
            inputs: The ids of each text, without special tokens. Not looked at if there are too many.
            count: How many there are.
            field: What the caller calls them, for error messages.

        Raises:
            InvalidInput: There are none or too many, one is far too long, or an id is not in the vocabulary.
        """
        most = self._limits.max_input_characters
        if wrong := check_count(field, count, "text", self._limits):
            raise InvalidInput(wrong)
        ids = list(inputs)
        long = [(index, len(one)) for index, one in enumerate(ids) if len(one) > most]
        if long:
            raise InvalidInput(
                [(f"{field}[{place}]", f"has {length} ids, {most} at most") for place, length in long]
            )
        return await self._tokenizer.decode(ids, name=field)

    async def embed_search(
        self, query: str, documents: Sequence[str], options: EmbedOptions, name: Callable[[int], str]
    ) -> Embeddings:
        """Embed a query and documents in one go, each behind the prompt of its type, unchecked.

        Args:
            query: The text whose embedding comes first. It is never cut.
            documents: The texts of the other embeddings.
            options: How; `input_type` does not matter.
            name: What the caller calls the text of an embedding, for error messages.

        Raises:
            InputTooLong: The query has too many tokens, or a document has and truncation is none.
            QueueFull: Too many inputs wait already.
            DeadlinePassed: The deadline passed while inputs waited.
            InferenceFailed: The model could not compute an input.
        """
        prompt = self._prompts["document"]
        texts = [prompt + document for document in documents] if prompt else documents
        first = await self._tokenizer.encode([self._prompts["query"] + query], name=name)
        others = await self._tokenizer.encode(texts, options.truncation, name=lambda index: name(index + 1))
        together = Tokenized(first.encodings + others.encodings, first.seconds + others.seconds)
        return await self._run(together, options, name)

    async def _run(
        self, tokenized: Tokenized, options: EmbedOptions, name: Callable[[int], str]
    ) -> Embeddings:
        outcome = await self._batcher.submit(tokenized.encodings, deadline=options.deadline, name=name)
        vectors: list[Vectors] = []
        for index, row in enumerate(outcome.rows, start=1):
            vectors.append(finish(row, dimensions=options.dimensions, normalize=options.normalize))
            if index % SLICE == 0:
                await asyncio.sleep(0)
        return Embeddings(
            vectors=vectors,
            input_tokens=sum(map(len, tokenized.encodings)),
            tokenize_seconds=tokenized.seconds,
            queue_seconds=outcome.queue_seconds,
            inference_seconds=outcome.inference_seconds,
        )

    def _check(self, inputs: Sequence[str], options: EmbedOptions) -> None:
        wrong = check_count(options.field, len(inputs), "text", self._limits)
        wrong = wrong or check_texts(options.field, inputs, self._limits)
        if options.dimensions is not None and not 1 <= options.dimensions <= self._dimensions:
            wrong.append(("dimensions", f"is {options.dimensions}, must be 1 to {self._dimensions}"))
        if wrong:
            raise InvalidInput(wrong)
