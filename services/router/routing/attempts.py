"""One call, and the attempts that are made for it.

Candidates are asked in order, within the attempts that the route allows, the budget of the route and the time
that the caller has left. No replica is asked twice while another one has not been asked; one that is alone is
asked again after a pause. What the caller is told in the end is the most telling of the failures.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from services.chassis.errors import DeadlinePassed, Reason
from services.chassis.load_report import decode
from services.chassis.tracing import Tracing
from services.config import Capability
from services.config import Route as Section
from services.router.errors import Garbled, NoBackend
from services.router.routing.budget import RetryBudget
from services.router.routing.call import FINGERPRINT_KEY, Answer, Ask, Metadata
from services.router.routing.choice import Candidate, Choice
from services.router.routing.ejection import Trial
from services.router.routing.explain import explain
from services.router.routing.measures import MethodLatencies
from services.router.routing.observer import Observer
from services.router.routing.outcome import (
    BROKEN,
    LOST,
    TOO_SLOW,
    UNCONNECTED,
    Blame,
    Next,
    Verdict,
    judge,
)

FIRST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 0.5
SPARE_SECONDS: Final = 0.002
"""A caller who waits no longer than this gets no further attempt."""

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the calls of a route have in common.

    Attributes:
        capability: What is asked for.
        section: How the route behaves.
        tracing: Traces attempts.
        observer: Is told of them.
        budget: Bounds further attempts.
        latencies: How long answers took.
        clock: Tells the time in seconds.
        chance: Returns a random number from 0 to below 1.
    """

    capability: Capability
    section: Section
    tracing: Tracing
    observer: Observer
    budget: RetryBudget
    latencies: MethodLatencies
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed.

    Attributes:
        candidate: Who failed.
        error: What to tell the caller.
        reason: What to tell metrics.
        verdict: What follows from it.
        trial: What the replica's ejection has not been told yet.
    """

    candidate: Candidate
    error: Exception
    reason: str
    verdict: Verdict
    trial: Trial | None = None


class Course:
    """The course of one call.

    Args:
        means: What the calls of the route have in common.
        ask: The call.
        choice: Whom it may ask.
        repeatable: It may be made again although it may have been handled.

    Attributes:
        decided: There is an answer; attempts that still run have been overtaken.
    """

    def __init__(self, means: Means, ask: Ask, choice: Choice, *, repeatable: bool) -> None:
        self.ask = ask
        self.means = means
        self.choice = choice
        self.repeatable = repeatable
        self._began = means.clock()
        self._attempts = 0
        self.decided = False
        self._failures: list[Failed] = []
        self._trials: list[Trial] = []

    @property
    def remaining(self) -> float:
        """How long the caller still waits, in seconds."""
        return self._began + self.ask.timeout_seconds - self.means.clock()

    @property
    def attempt_seconds(self) -> float:
        """How long the attempt that begins now may take.

        Where nobody else could be asked, nothing is gained by giving it up.
        """
        longest = self.means.section.attempt_timeout_seconds
        if longest is None or not self.repeatable or not self.may_go_on or self.choice.first() is None:
            return self.remaining
        return min(longest, self.remaining)

    @property
    def may_go_on(self) -> bool:
        """Whether one more attempt may be made, were there somebody to ask."""
        return (
            self._attempts < self.means.section.max_attempts
            and self.means.budget.allows
            and self.remaining > SPARE_SECONDS
        )

    async def next(self) -> Candidate:
        """Return whom to ask now; returns after a pause if that is somebody who was asked before.

        Raises:
            Exception: Nobody is left, and this is what the caller is told.
        """
        candidate = self.choice.first() if not self._failures or self._goes_on() else None
        if candidate is None and self._failures and self._goes_on():
            candidate = await self._same_again()
        if candidate is None:
            raise self._best()
        if self._failures:
            self.means.observer.failed_over(self.means.capability, self._failures[-1].reason)
        return self.begin(candidate)

    def begin(self, candidate: Candidate) -> Candidate:
        """Note that somebody is asked."""
        self._attempts += 1
        self.choice.asks(candidate)
        return candidate

    def note(self, failed: Failed) -> None:
        """Note that an attempt failed."""
        self._failures.append(failed)
        verdict = failed.verdict
        if verdict.next is not Next.NOBODY:
            self.means.budget.spend()
        if verdict.next is Next.BACKEND:
            self.choice.exclude(failed.candidate.pool)
        if not verdict.again:
            self.choice.refuse(failed.candidate)
        if failed.trial is None:
            return
        if verdict.blame is Blame.ALWAYS or (verdict.blame is Blame.PROVEN and not self.repeatable):
            failed.trial.failed()
        elif verdict.blame is Blame.NEVER:
            failed.trial.end()

    def succeeded(self) -> None:
        """Note that there is an answer: whoever failed before is to blame for that."""
        self.decided = True
        self.means.budget.earn()
        self.means.latencies.add(self.ask.method, len(self.ask.content), self.means.clock() - self._began)
        for failed in self._failures:
            if failed.trial is not None and failed.verdict.blame is Blame.PROVEN:
                failed.trial.failed()

    def trial(self, candidate: Candidate) -> Trial:
        """Return what tells the ejection of a replica how an attempt ended; it is over with the call."""
        trial = candidate.endpoint.ejection.begin()
        self._trials.append(trial)
        return trial

    def close(self) -> None:
        """Let go of replicas that nothing was found out about, whatever became of the attempts at them."""
        for trial in self._trials:
            trial.end()

    def _goes_on(self) -> bool:
        """Say whether the latest failure lets another attempt be made."""
        verdict = self._failures[-1].verdict
        if verdict.next is Next.NOBODY or not self.may_go_on:
            return False
        if not self.repeatable and not verdict.untouched:
            return False
        once = sum(failed.verdict.once for failed in self._failures)
        return once <= 1

    async def _same_again(self) -> Candidate | None:
        """Wait a little, and return a replica that was asked before; None if that is of no use."""
        candidate = self.choice.again()
        if candidate is None:
            return None
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self.choice.times(candidate) - 1))
        pause = longest * (0.5 + self.means.chance() / 2)
        if pause >= self.remaining:
            return None
        await asyncio.sleep(pause)
        return self.choice.first() or self.choice.again()

    def _best(self) -> Exception:
        """Return what to tell the caller: what cannot be helped, else the most telling, else the latest."""
        if not self._failures:
            if self.remaining <= 0:
                return DeadlinePassed()
            return NoBackend(self.means.capability, self.choice.despair())
        latest = self._failures[-1]
        if latest.verdict.next is Next.NOBODY:
            return latest.error
        best = latest
        for failed in reversed(self._failures):
            if failed.verdict.rank > best.verdict.rank:
                best = failed
        return best.error


async def attempt(course: Course, candidate: Candidate, seconds: float) -> Answer | Failed:
    """Ask a replica once, for a call with one response, and return what came of it."""
    ask, endpoint = course.ask, candidate.endpoint
    if not course.repeatable and not endpoint.is_connected and not await endpoint.connected(seconds):
        told = NoBackend(course.means.capability, "there is no connection to it")
        course.means.observer.attempted(course.means.capability, candidate.pool.name, "NO_BACKEND", 0.0)
        return Failed(candidate, told, "NO_BACKEND", UNCONNECTED, course.trial(candidate))
    with Watch(course, candidate, seconds) as watch:
        try:
            with course.means.tracing.client_span(ask.method) as metadata:
                call = endpoint.unary(ask.method)(
                    candidate.content, timeout=max(0.0, seconds), metadata=[*metadata, *ask.metadata]
                )
                content = await call
        except grpc.aio.AioRpcError as error:
            return watch.failed(error)
        except grpc.aio.UsageError:  # the channel was closed just now
            return watch.dropped()
        except asyncio.CancelledError:
            if dropped():
                return watch.dropped()
            if course.decided:
                watch.answers()  # it takes so long at least
            raise
        trailing = plain(await call.trailing_metadata())
        try:
            read = ask.accept(content) if ask.accept is not None else None
        except Garbled as error:
            return watch.garbled(error, trailing)
        watch.succeeded(trailing)
        return Answer(content, trailing, candidate.pool.name, endpoint.address, read)


class Watch:
    """Watches one attempt, for whoever learns from it: the replica's record, and metrics.

    Args:
        course: The call that it is made for.
        candidate: Who is asked.
        seconds: How long it may take.
    """

    def __init__(self, course: Course, candidate: Candidate, seconds: float) -> None:
        self._limited = seconds + SPARE_SECONDS < course.remaining
        self._means = course.means
        self._course = course
        self._candidate = candidate
        self._endpoint = candidate.endpoint
        self._trial = course.trial(candidate)
        self._began = course.means.clock()
        self._outcome = "CANCELLED"
        self._keeps_trial = False

    def __enter__(self) -> Watch:
        self._endpoint.calls_in_flight += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._endpoint.calls_in_flight -= 1
        if not self._keeps_trial:
            self._trial.end()
        self._means.observer.attempted(
            self._means.capability, self._candidate.pool.name, self._outcome, self.seconds
        )

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._means.clock() - self._began

    def answers(self) -> None:
        """Note that this is how long the replica takes: its answer has begun, or is there."""
        self._endpoint.latencies.add(self.seconds)

    def begun(self) -> None:
        """Note that the answer, a stream, has begun; it may go on for long."""
        self.answers()
        self._trial.began()

    def succeeded(self, trailing: Metadata, *, began: bool = False) -> None:
        """The answer is complete; `began` says that its beginning was noted already."""
        if not began:
            self.answers()
        self._outcome = "OK"
        self._trial.succeeded()
        self._endpoint.note_load(decode(trailing))
        self._check_fingerprint(trailing)

    def failed(self, error: grpc.aio.AioRpcError) -> Failed:
        """Return what the attempt failed with."""
        reason, verdict = judge(error)
        if reason == "DEADLINE" and self._limited and self._course.remaining > SPARE_SECONDS:
            verdict = TOO_SLOW
        self._endpoint.note_load(decode(plain(error.trailing_metadata())))
        return self._fail(explain(error, self._means.capability), reason, verdict)

    def too_slow(self) -> Failed:
        """Return what an attempt failed with whose own time is over."""
        return self._fail(DeadlinePassed(), "DEADLINE", TOO_SLOW)

    def garbled(self, error: Garbled, trailing: Metadata) -> Failed:
        """Return what an attempt failed with whose answer is none to what was asked."""
        told = {"method": self._course.ask.method, "backend": self._candidate.pool.name}
        told["error_id"] = error.error_id
        log.warning(
            "a backend's answer does not fit what it was asked",
            extra={**told, "endpoint": self._endpoint.address},
        )
        self._endpoint.note_load(decode(trailing))
        return self._fail(error, str(Reason.INTERNAL), BROKEN)

    def dropped(self) -> Failed:
        """Return what an attempt failed with whose connection was closed on this side."""
        told = NoBackend(self._means.capability, "the connection to it was given up")
        return self._fail(told, "NO_BACKEND", LOST)

    def _fail(self, told: Exception, reason: str, verdict: Verdict) -> Failed:
        self._outcome = reason
        self._keeps_trial = True
        return Failed(self._candidate, told, reason, verdict, self._trial)

    def _check_fingerprint(self, trailing: Metadata) -> None:
        """Have the replica list its models again if it answers with one that it did not have."""
        for key, value in trailing:
            if key == FINGERPRINT_KEY and value:
                self._endpoint.catalog.heard(str(value))


def dropped() -> bool:
    """Say whether a `CancelledError` comes from a channel that was closed, not from a caller who left."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


def plain(metadata: object) -> Metadata:
    """Return gRPC's own kind of list as a tuple."""
    return tuple(metadata) if metadata else ()  # type: ignore[arg-type]  # it is iterable
