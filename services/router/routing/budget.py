"""Keeps an outage from being multiplied: attempts beyond the first need tokens, which successes earn."""

from __future__ import annotations

from typing import Final

MAX_TOKENS: Final = 1000
"""As many as gRPC takes at most, so that one lost replica with some hundred calls does not stop the further
attempts of them all."""


class RetryBudget:
    """The tokens of one route, by the rules of gRPC's retry throttling.

    Every failed attempt costs a token and every answer earns one; below half of them nothing is tried again.
    So failures that others make good are free, and an outage ends further attempts after some hundred.
    """

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS

    @property
    def allows(self) -> bool:
        """Whether another attempt may be made now."""
        return self._tokens > MAX_TOKENS // 2

    def spend(self) -> None:
        """Note an attempt that failed, or one that was made besides another."""
        self._tokens = max(0, self._tokens - 1)

    def earn(self) -> None:
        """Note an answer."""
        self._tokens = min(MAX_TOKENS, self._tokens + 1)
