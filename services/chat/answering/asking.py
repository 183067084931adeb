"""One call on its way to its answer: asks one target after the other until one answers.

Whatever is waited for, the caller may leave: nothing is shielded, and nothing is begun for one who has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from services.chassis.errors import CallError, Reason
from services.chat.answer import Piece, Stopped
from services.chat.answering import structured
from services.chat.answering.attempt import Attempt
from services.chat.answering.call import Call
from services.chat.answering.fitting import Misfit, misfit
from services.chat.answering.holding import Holding, early, is_much
from services.chat.answering.journal import Journal
from services.chat.answering.limit import Limit, OutOfTime
from services.chat.answering.means import Means
from services.chat.answering.meter import Refusal, Reservation
from services.chat.answering.observer import CANCELLED
from services.chat.answering.outcome import Outcome, Skipped, Tried
from services.chat.answering.plan import Candidate, Plan, drawn
from services.chat.answering.replay import Diverged, Replay
from services.chat.answering.steps import Finished, Started, Step
from services.chat.answering.suitability import Demand
from services.chat.answering.target import Target
from services.chat.conversation import Conversation
from services.chat.errors import BudgetExhausted, InvalidOutput, reason_of
from services.chat.providers.dialect import Ask
from services.chat.providers.failure import Failure, FailureKind

Portions = AsyncGenerator[list[Piece], None]
Steps = AsyncGenerator[list[Step], None]


class Asking:
    """One call. Made when it begins; `steps` is used once."""

    def __init__(self, means: Means, call: Call) -> None:
        self._means = means
        self._call = call
        self._holds = call.hold or call.conversation.response_format.kind != "text"
        self._limit = Limit(call.total_seconds, call.deadline)
        order = drawn(call.targets, call.weights, means.chance)
        self._plan = Plan(order, means.settings, self._limit, means.chance)
        self._demand = Demand(call.conversation, means)
        self._outcome = Outcome()
        self._journal = Journal(means.observer)
        self._begun = False
        self._first_content_at: float | None = None
        self._speaker: Target | None = None
        self._answered = False
        resumes = not self._holds and Replay.suits(call.conversation)
        self._replay = Replay(means.settings.max_answer_bytes) if resumes else None

    async def steps(self) -> Steps:
        """Yield the steps of the answer.

        Raises:
            CallError: There is no answer, or it broke off.
        """
        try:
            while not self._answered:
                candidate = await self._next()
                async with aclosing(self._ask(candidate)) as portions:
                    async for steps in portions:
                        yield steps
        except OutOfTime as error:
            raise self._outcome.out_of_time(self._limit, begun=self._begun) from error

    async def _next(self) -> Candidate:
        """Return who is asked now, after waiting as long as it takes."""
        while True:
            _leave_if_cancelled()
            if not self._limit.allows(0):
                raise OutOfTime
            choice = self._plan.choose() if self._may_try else None
            if choice is None and self._begun:
                raise self._outcome.interrupted()
            if choice is None:
                raise self._outcome.nobody_left([one.target for one in self._plan.candidates])
            if choice.seconds <= 0:
                self._plan.ask(choice.candidate)
                return choice.candidate
            with self._journal.waiting():
                await self._limit.wait(asyncio.sleep(choice.seconds))

    @property
    def _may_try(self) -> bool:
        return len(self._outcome.tried) < self._means.settings.max_attempts

    async def _ask(self, candidate: Candidate) -> Steps:
        """Ask one target and yield its answer; nothing if it gave none and somebody else may be asked."""
        # Nothing is waited for between the choice of a target and its trial: else two calls might probe it.
        with candidate.target.breaker.trial() as trial:
            attempt = Attempt(candidate.target, trial)
            try:
                with self._reported(attempt):
                    ask = await self._prepare(candidate, attempt)
                    if ask is None:
                        return
                    pieces = attempt.pieces(ask, self._call.timers, self._new_id, self._limit)
                    async with aclosing(pieces), aclosing(self._passed(candidate, attempt, pieces)) as passed:
                        async for steps in passed:
                            yield steps
            except Failure as failure:
                self._decide(candidate, attempt, failure)

    @contextmanager
    def _reported(self, attempt: Attempt) -> Iterator[None]:
        """See to it that an attempt is reported, however the block ends."""
        try:
            yield
        except Failure as failure:
            attempt.learn(failure, self._means.settings)
            self._end(attempt, reason_of(failure), failure)
            raise
        except OutOfTime:
            self._end(attempt, Reason.DEADLINE if self._limit.is_callers else Reason.UPSTREAM_UNAVAILABLE)
            raise
        except Exception:
            if not attempt.is_over:  # a bug
                self._journal.end(attempt, str(Reason.INTERNAL))
            raise
        finally:
            if not attempt.is_over:
                self._journal.end(attempt, CANCELLED)

    def _end(self, attempt: Attempt, reason: str, failure: Failure | None = None) -> None:
        """Report an attempt that failed."""
        self._tell_why(attempt)
        self._journal.end(attempt, str(reason))
        self._outcome.tried.append(Tried(attempt.target, str(reason), failure))

    async def _prepare(self, candidate: Candidate, attempt: Attempt) -> Ask | None:
        """Return what the target is asked, with money put aside for it; None if it must not be asked."""
        target = candidate.target
        try:
            with self._journal.waiting():
                attempt.facts = await self._limit.wait(self._demand.examine(target))
            conversation = self._conversation(candidate, attempt)
            attempt.reservation = await self._limit.wait(self._reserve(target, conversation))
            self._demand.check_paid(target, attempt.facts)
        except CallError as error:
            attempt.is_over = True
            if attempt.reservation is not None:
                attempt.reservation.abandon(sent=False)
            self._plan.drop(candidate)
            self._outcome.skipped.append(Skipped(target, error))
            return None
        self._tell_why(attempt)
        facts, context_length = attempt.facts, self._call.context_length
        return Ask(conversation, target.provider.name, target.upstream_model, facts, context_length)

    def _conversation(self, candidate: Candidate, attempt: Attempt) -> Conversation:
        """Return what this target is asked: with its own way to ask for the response format."""
        asked = candidate.repairing or self._call.conversation
        if candidate.repairing is not None or asked.response_format.kind == "text":
            return asked
        return structured.prepare(asked, attempt.facts)

    async def _reserve(self, target: Target, conversation: Conversation) -> Reservation:
        reserved = await self._means.meter.reserve(target, conversation)
        if isinstance(reserved, Refusal):
            message = f"{target.name}: {reserved.message}"
            raise BudgetExhausted(message, retry_after_seconds=reserved.retry_after_seconds)
        return reserved

    def _tell_why(self, attempt: Attempt) -> None:
        """Tell the observer, once, why there is another attempt, if there is."""
        if self._outcome.tried and not attempt.is_explained:
            last, observer = self._outcome.tried[-1], self._means.observer
            told = observer.retried if last.target is attempt.target else observer.fell_back
            told(last.target.name, last.reason)
        attempt.is_explained = True

    def _passed(self, candidate: Candidate, attempt: Attempt, portions: Portions) -> Steps:
        """Return what of an answer is passed on, and when."""
        return self._hold(candidate, attempt, portions) if self._holds else self._stream(attempt, portions)

    async def _stream(self, attempt: Attempt, portions: Portions) -> Steps:
        """Yield the answer as it comes, from its first content on."""
        waiting: list[Step] = [] if attempt.target is self._speaker else [_started(attempt.target)]
        resumes = self._begun
        if resumes and self._replay is not None:
            self._replay.begin()
        async for portion in portions:
            new = self._new(attempt, portion) if resumes else portion
            pieces = [piece for piece in new if not isinstance(piece, Stopped)]
            waiting = early(waiting, pieces) if attempt.content_at is None else [*waiting, *pieces]
            if self._first_content_at is None:
                self._first_content_at = attempt.content_at
            if attempt.stopped is not None:
                waiting.append(self._finish(attempt))
            elif not pieces or (attempt.content_at is None and not is_much(waiting)):
                continue
            if not self._begun:
                self._begun = True
                self._journal.first_token(attempt)
            self._speaker = attempt.target
            steps, waiting = waiting, []
            if self._replay is not None:
                self._replay.note(steps)
            yield steps

    def _new(self, attempt: Attempt, portion: list[Piece]) -> list[Piece]:
        """Return what of an answer that is given again has not been passed on yet.

        Raises:
            Failure: The answer is not the one of which a part was passed on.
        """
        assert self._replay is not None
        try:
            new = self._replay.rest(portion)
            if attempt.stopped is not None:
                self._replay.check_all_came()
        except Diverged as error:
            self._replay = None
            message = "the answer broke off, and asked again the model answered otherwise"
            raise Failure(FailureKind.BROKEN_OFF, message) from error
        return new

    async def _hold(self, candidate: Candidate, attempt: Attempt, portions: Portions) -> Steps:
        """Yield the answer when it is whole and fits; nothing if the model is asked for a better one."""
        answer = Holding()
        most = self._means.settings.max_answer_bytes
        async for portion in portions:
            answer.add(portion)
            if answer.size > most:
                message = f"{attempt.target.name}: the answer is longer than {most} bytes"
                raise self._refused(attempt, InvalidOutput(message))
        assert attempt.stopped is not None
        self._journal.first_token(attempt)
        checking = misfit(attempt.target.name, self._call.conversation, answer, attempt.stopped)
        found = await self._limit.wait(checking)
        if found is None:
            yield [_started(attempt.target), *answer.pieces, self._finish(attempt)]
        else:
            self._repair(candidate, attempt, answer, found)

    def _finish(self, attempt: Attempt) -> Finished:
        self._answered = True
        return self._journal.finish(attempt, self._first_content_at or attempt.content_at)

    def _repair(self, candidate: Candidate, attempt: Attempt, answer: Holding, found: Misfit) -> None:
        """Have the model shown what is wrong with its answer.

        Raises:
            CallError: It has been shown often enough, or that would not help.
        """
        error = self._refused(attempt, found.error)
        if not found.problem or candidate.repairs >= self._means.settings.max_repairs or not self._may_try:
            raise error
        candidate.repairs += 1
        asked = self._conversation(candidate, attempt)
        candidate.repairing = structured.repair(asked, answer.text, found.problem)

    def _refused(self, attempt: Attempt, error: CallError) -> CallError:
        """Note that an answer is not passed on, and return the error that says why."""
        self._end(attempt, error.reason)
        return self._outcome.ended(error)

    def _decide(self, candidate: Candidate, attempt: Attempt, failure: Failure) -> None:
        """Decide whom a failure lets one ask next.

        Raises:
            CallError: Nobody.
        """
        if self._begun:
            self._resume(candidate, failure)
            return
        known = attempt.facts.context_length
        if failure.kind is FailureKind.CONTEXT_LENGTH and known is not None and candidate.repairing is None:
            # As far as is known, the conversation did not fit into so much: who reads no more, cannot either.
            length = min(known, self._call.context_length or known)
            self._demand.longer_than = max(self._demand.longer_than, length)
        if failure.may_retry and self._plan.retry(candidate):
            return
        self._plan.drop(candidate)
        if not failure.may_fall_back:
            raise self._outcome.rejected() from failure

    def _resume(self, candidate: Candidate, failure: Failure) -> None:
        """Have an answer asked for again of which a part was passed on.

        Raises:
            CallError: It could not be gone on with.
        """
        resumes = self._replay is not None and self._replay.is_possible
        if resumes and failure.may_retry and self._plan.retry(candidate):
            return
        self._plan.drop(candidate)
        if not (resumes and failure.may_fall_back):
            raise self._outcome.interrupted() from failure

    def _new_id(self, number: int) -> str:
        """Return the id of a tool call that came without one."""
        return f"call_{self._call.response_id}_{number}"


def _started(target: Target) -> Started:
    return Started(target.provider.name, target.upstream_model)


def _leave_if_cancelled() -> None:
    """Begin nothing for a caller who has left, even if somebody on the way did not pass that on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
