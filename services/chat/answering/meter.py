"""What calls cost: asked before an attempt, told after it.

Only these shapes are known here; what stands behind them counts the money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.chat.answer import Usage
from services.chat.answering.target import Target
from services.chat.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Refusal:
    """The attempt may cost more than is left.

    Attributes:
        message: Why, in our words and without the name of the target.
        retry_after_seconds: When there is money again; None if that is not known.
    """

    message: str
    retry_after_seconds: float | None = None


class Reservation(Protocol):
    """Money that is put aside for one attempt. Exactly one of the two methods is called, once.

    Neither waits, so that a call that is cancelled leaves at once: whoever has to write, writes later.
    """

    def settle(self, usage: Usage) -> int | None:
        """Book what a complete answer used. Return its cost in billionths of a US dollar, None if unknown."""

    def abandon(self, *, sent: bool) -> int | None:
        """Give the money back, or keep what may have been spent, when what was used is not known.

        Args:
            sent: The provider may have worked on it. If not, it costs nothing.

        Returns:
            The cost: 0 if it is certain that there is none, else None.
        """


class Meter(Protocol):
    """Says whether an attempt may be paid for."""

    async def reserve(self, target: Target, conversation: Conversation) -> Reservation | Refusal:
        """Put money aside for an attempt; for a target that costs nothing always possible."""
