"""What has happened in a call: attempts, what they cost, where the time went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from services.chat.answering.attempt import Attempt
from services.chat.answering.observer import ANSWERED, Observer
from services.chat.answering.steps import AttemptReport, Finished


class Journal:
    """What has happened in one call. Made when it begins.

    Args:
        observer: Is told of it.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._began_at = time.perf_counter()
        self._reports: list[AttemptReport] = []
        self._upstream_seconds = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block's time as spent for providers: asking them for facts, leaving them alone."""
        began_at = time.perf_counter()
        try:
            yield
        finally:
            self._upstream_seconds += time.perf_counter() - began_at

    def first_token(self, attempt: Attempt) -> None:
        """Note that the first content has arrived, if it has."""
        if attempt.content_at is not None:
            self._observer.first_token(attempt.target.name, attempt.content_at - attempt.began_at)

    def end(self, attempt: Attempt, reason: str) -> AttemptReport:
        """Report an attempt; `reason` is why it failed, empty if it answered."""
        report = attempt.end(reason)
        self._reports.append(report)
        self._upstream_seconds += attempt.upstream_seconds
        self._observer.attempt_ended(attempt.target.name, reason or ANSWERED, report.seconds)
        self._observer.spent(report)
        return report

    def finish(self, attempt: Attempt, first: float | None) -> Finished:
        """Report the attempt that answered, and return how the call ended.

        Args:
            attempt: The attempt.
            first: When the caller's first content arrived, as `time.perf_counter`; None if there is none.
        """
        assert attempt.stopped is not None
        report = self.end(attempt, "")
        return Finished(
            reason=attempt.stopped,
            usage=attempt.usage,
            cost_nano_usd=report.cost_nano_usd,
            attempts=tuple(self._reports),
            total_seconds=time.perf_counter() - self._began_at,
            first_token_seconds=None if first is None else first - self._began_at,
            upstream_seconds=self._upstream_seconds,
        )
