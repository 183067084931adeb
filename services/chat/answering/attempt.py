"""One try at one target."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from services.chat.answer import (
    FinishReason,
    Piece,
    ReasoningPiece,
    Stopped,
    TextPiece,
    ToolCallPiece,
    Usage,
    UsageReport,
)
from services.chat.answering.breaker import Trial
from services.chat.answering.limit import Limit, OutOfTime
from services.chat.answering.meter import Reservation
from services.chat.answering.steps import AttemptReport
from services.chat.answering.target import Target
from services.chat.errors import reason_of
from services.chat.providers.dialect import Ask
from services.chat.providers.exchange import Exchange, Timers
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure, FailureKind
from services.config import Chat

CONTENT: Final = (TextPiece, ReasoningPiece, ToolCallPiece)
"""Pieces that count as content. Usage and signatures do not: a provider can send them and then fail."""

ALIVE: Final = frozenset(
    {
        FailureKind.REJECTED,
        FailureKind.NOT_SUPPORTED,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTERED,
    }
)
"""Failures of the request and not of the target: whoever answers so is there."""

COOLING: Final = frozenset({FailureKind.RATE_LIMITED, FailureKind.UNAVAILABLE, FailureKind.QUOTA})
"""Failures after which a provider's wish to be left alone holds for all calls."""

log: Final = logging.getLogger(__name__)


class Attempt:
    """One try at one target.

    Args:
        target: Who is asked.
        trial: What the target's breaker is to learn from it.

    Attributes:
        target, trial: As given.
        facts: What is known of the target.
        reservation: Money put aside for it; None before there is any.
        usage: Tokens used, as far as the provider has said.
        stopped: Why the answer ended; None while it has not.
        content_at: When the first content arrived, as `time.perf_counter`; None before that.
        upstream_seconds: How long was spent waiting for the provider.
        is_over: It has been reported.
        is_explained: It has been told why it was made.
    """

    def __init__(self, target: Target, trial: Trial) -> None:
        self.target = target
        self.trial = trial
        self.facts: Facts = UNKNOWN
        self.reservation: Reservation | None = None
        self.usage = Usage()
        self.stopped: FinishReason | None = None
        self.began_at = time.perf_counter()
        self.content_at: float | None = None
        self.is_over = False
        self.is_explained = False
        self._exchange: Exchange | None = None
        self._answered = False
        self._failure: Failure | None = None

    @property
    def upstream_seconds(self) -> float:
        """How long was spent waiting for the provider."""
        return 0.0 if self._exchange is None else self._exchange.upstream_seconds

    async def pieces(
        self, ask: Ask, timers: Timers, new_id: Callable[[int], str], limit: Limit
    ) -> AsyncGenerator[list[Piece], None]:
        """Ask, and yield the pieces of the answer as they come.

        Raises:
            Failure: There is no answer, or it broke off.
            OutOfTime: The call's time is over.
        """
        async with AsyncExitStack() as stack:
            timers = replace(timers, until=limit.until)
            self._exchange = exchange = self.target.provider.exchange(ask, timers, new_id)
            await limit.wait(stack.enter_async_context(exchange))
            self._answered = True
            portions = await stack.enter_async_context(aclosing(aiter(exchange)))
            while (portion := await self._next(portions, limit)) is not None:
                self._note(portion)
                yield portion
                if self.stopped is not None:
                    # What is left is to read the response to its end, in a moment at most, or else its
                    # connection could not be used again. The answer is there whatever the limit says.
                    with suppress(Failure):
                        async for _ in portions:
                            pass

    async def _next(self, portions: AsyncGenerator[list[Piece], None], limit: Limit) -> list[Piece] | None:
        """Return the next pieces; None after the last.

        The exchange keeps the time, and not beyond the limit: a second timer would cost as much again.
        """
        try:
            return await anext(portions, None)
        except Failure as failure:
            if failure.kind is FailureKind.TIMEOUT and not limit.allows(0):
                raise OutOfTime from failure
            raise

    def end(self, reason: str) -> AttemptReport:
        """Settle the costs and return the report. `reason` is why it failed, empty if it answered."""
        self.is_over = True
        return AttemptReport(
            provider=self.target.provider.name,
            upstream_model=self.target.upstream_model,
            reason=reason,
            status=None if self._failure is None else self._failure.told.status,
            seconds=time.perf_counter() - self.began_at,
            usage=self.usage,
            cost_nano_usd=self._cost(),
        )

    def learn(self, failure: Failure, settings: Chat) -> None:
        """Let the breaker know what a failure says about the target, and whoever runs it what happened."""
        self._failure = failure
        log.info("attempt failed", extra=_account(self.target, failure))
        if failure.kind in ALIVE:
            self.trial.succeeds()
        elif failure.blames_target:
            self.trial.fails()
        wish = failure.told.retry_after_seconds
        if wish is None and failure.kind is FailureKind.RATE_LIMITED:
            wish = settings.backoff_seconds
        if wish is not None and failure.kind in COOLING:
            self.target.breaker.cool(wish)

    def _note(self, portion: list[Piece]) -> None:
        for piece in portion:
            if isinstance(piece, UsageReport):
                self.usage = piece.usage
            elif isinstance(piece, Stopped):
                self.stopped = piece.reason
                self.trial.succeeds()
            elif self.content_at is None and isinstance(piece, CONTENT):
                self.content_at = time.perf_counter()
                self.trial.begins()

    def _cost(self) -> int | None:
        """Settle with the meter. What was used by an answer that broke off is not known, only part of it."""
        if self.reservation is None:
            return 0
        if self.stopped is not None and self.usage != Usage():
            return self.reservation.settle(self.usage)
        return self.reservation.abandon(sent=self._may_have_cost)

    @property
    def _may_have_cost(self) -> bool:
        """Whether the provider may have worked on the request: errors are for free."""
        if self.upstream_seconds == 0:
            return False
        if self._failure is None or self._answered:
            return True
        refused = self._failure.told.status not in {None, HTTPStatus.OK}
        return self._failure.may_have_cost and not refused


def _account(target: Target, failure: Failure) -> dict[str, object]:
    """Return what the log says of a failure: all of it is ours, or a code that the provider sent."""
    told = failure.told
    said = {
        "upstream_status": told.status,
        "upstream_code": told.code or None,
        "retry_after_seconds": told.retry_after_seconds,
    }
    known = {name: value for name, value in said.items() if value is not None}
    return {"target": target.name, "reason": reason_of(failure), "detail": str(failure), **known}
