"""A tokenized input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of one input, special tokens included.

    Attributes:
        ids: Token ids.
        type_ids: Segment of each token, for pairs of texts; None when all are 0.
    """

    ids: list[int]
    type_ids: list[int] | None = None

    def __len__(self) -> int:
        return len(self.ids)
