"""What is told to whoever counts: metrics."""

from __future__ import annotations

from typing import Final, Protocol

from services.chat.answering.steps import AttemptReport

ANSWERED: Final = "OK"
"""Outcome of an attempt that gave a complete answer."""
CANCELLED: Final = "CANCELLED"
"""Outcome of an attempt that nobody waited for any longer."""


class Observer(Protocol):
    """Is told what happens, while it happens. Must not wait and must not fail.

    Targets are named `provider/upstream_model`. That name may come from a caller where a provider's models
    need not be configured, so that there is no end to their number.
    """

    def attempt_ended(self, target: str, outcome: str, seconds: float) -> None:
        """An attempt is over; `outcome` is a value of `Reason`, `ANSWERED` or `CANCELLED`."""

    def spent(self, report: AttemptReport) -> None:
        """An attempt has used tokens and money, as far as that is known, whether or not it answered."""

    def first_token(self, target: str, seconds: float) -> None:
        """The first content of an attempt arrived, so long after it began."""

    def retried(self, target: str, reason: str) -> None:
        """The same target is asked again, because of `reason`."""

    def fell_back(self, target: str, reason: str) -> None:
        """Another target is asked than `target`, which failed for `reason`."""
