"""What models that stand on one tokenizer and one batcher have in common."""

from __future__ import annotations

from collections.abc import Sequence

from services.config import Limits
from services.inference.batching import Batcher
from services.inference.models.texts import require_texts
from services.inference.tokenizer import Tokenizer


class BatchedModel:
    """A model over a tokenizer and a batcher. Satisfies `lifecycle.LoadedModel`.

    Args:
        limits: How much a call may hold.
        tokenizer: Its tokenizer.
        batcher: Its batcher.
    """

    def __init__(self, limits: Limits, tokenizer: Tokenizer, batcher: Batcher) -> None:
        self._limits = limits
        self._tokenizer = tokenizer
        self._batcher = batcher

    @property
    def max_input_tokens(self) -> int:
        """Longest text, or pair of texts together, in tokens, special tokens included."""
        return self._tokenizer.max_tokens

    @property
    def queue_size(self) -> int:
        """How many texts or pairs wait."""
        return self._batcher.queue_size

    @property
    def utilization(self) -> float:
        """How busy its sessions are: 0 when idle, 1 when all of them run, more when inputs wait."""
        return self._batcher.utilization

    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text by itself, special tokens included, no prompts, nothing cut.

        Raises:
            InvalidInput: There are no inputs or too many, or one is empty or far too long.
        """
        require_texts("inputs", inputs, self._limits)
        return await self._tokenizer.count(inputs)

    async def close(self) -> None:
        """Finish the calls that were accepted, then give back threads and memory."""
        await self._batcher.close()
        self._tokenizer.close()
