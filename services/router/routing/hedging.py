"""Asks a second replica when the first is slow, and takes the answer that comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from services.router.routing.attempts import Course, Failed, attempt
from services.router.routing.call import Answer
from services.router.routing.choice import Candidate
from services.router.routing.outcome import Next

LEAST_DELAY_SECONDS: Final = 0.001


def hedge_delay(course: Course) -> float | None:
    """Return after how many seconds a second replica is asked; None for never."""
    share = course.means.section.hedge_percentile
    if share is None or not course.ask.safe:
        return None
    delay = course.means.latencies.percentile(course.ask.method, len(course.ask.content), share)
    if delay is None or delay >= course.remaining:
        return None
    return max(LEAST_DELAY_SECONDS, delay)


async def hedged(course: Course, candidate: Candidate) -> Answer | Failed:
    """Ask a replica, and another one if that takes longer than usual; return what came of it.

    A failure that is returned has not been noted yet; one that another attempt made good has.
    """
    delay = hedge_delay(course)
    if delay is None:
        return await attempt(course, candidate, course.attempt_seconds)
    first = asyncio.create_task(attempt(course, candidate, course.attempt_seconds))
    try:
        done, _ = await asyncio.wait({first}, timeout=delay)
        second = course.choice.first() if course.may_go_on else None
        if done or second is None:
            return await first
    except asyncio.CancelledError:
        await _end(first)
        raise
    course.means.budget.spend()
    hedge = asyncio.create_task(attempt(course, course.begin(second), course.attempt_seconds))
    try:
        return await _race(course, first, hedge)
    finally:
        await _end(first, hedge)


async def _race(
    course: Course, first: asyncio.Task[Answer | Failed], hedge: asyncio.Task[Answer | Failed]
) -> Answer | Failed:
    """Return the first answer, or failure that is final; of two other failures the later one."""
    failures: list[Failed] = []
    running = {first, hedge}
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda one: not isinstance(one.result(), Answer)):
            result = task.result()
            if isinstance(result, Answer):
                course.decided = True
                return _settled(course, result, failures, "won" if task is hedge else "lost")
            if result.verdict.next is Next.NOBODY:
                return _settled(course, result, failures, "failed")
            failures.append(result)
    return _settled(course, failures.pop(), failures, "failed")


def _settled(
    course: Course, result: Answer | Failed, failures: Sequence[Failed], outcome: str
) -> Answer | Failed:
    for failed in failures:
        course.note(failed)
    course.means.observer.hedged(course.means.capability, outcome)
    return result


async def _end(*tasks: asyncio.Task[Answer | Failed]) -> None:
    """Cancel what still runs, and wait until it has ended: the replica is told at once."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
