"""Embeddings from providers: the same targets, the same rules, and nothing to pass on before the end."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.chassis.errors import CallError, Reason
from services.chat.answering.attempt import Attempt
from services.chat.answering.limit import Limit, OutOfTime
from services.chat.answering.means import Means
from services.chat.answering.meter import Meter, Refusal, Reservation
from services.chat.answering.observer import ANSWERED, CANCELLED, Observer
from services.chat.answering.outcome import Outcome, Skipped, Tried
from services.chat.answering.plan import Candidate, Plan
from services.chat.answering.steps import AttemptReport
from services.chat.answering.target import Target
from services.chat.conversation import Conversation, Message, Text
from services.chat.errors import BudgetExhausted, InputTooLong, PaidDisabled, reason_of
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.provider import Embeddings
from services.config import Chat

LONGEST: Final = 3.4e38
"""Length of a vector whose components just fit into the 32 bits that they travel in."""


@dataclass(frozen=True, slots=True)
class EmbedCall:
    """One call.

    Attributes:
        targets: Who may answer, in order; at least one.
        inputs: The texts, prompts included; at least one.
        dimensions: How long each embedding has to be; None if it is not known.
        timeout_seconds: How long a target may take.
        deadline: When the caller stops waiting, as time of the event loop; None if it did not say.
    """

    targets: tuple[Target, ...]
    inputs: Sequence[str]
    dimensions: int | None
    timeout_seconds: float
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings in the order of the inputs, and the attempt that they came from."""

    vectors: Sequence[Sequence[float]]
    attempt: AttemptReport


class Embedding:
    """Has texts embedded by the first target that can.

    Args:
        settings: `[chat]`.
        paid_enabled: Whether targets that cost money may be called.
        meter: Says whether an attempt may be paid for.
        observer: Is told what happens.
        chance: Draws back-offs. Default: an own one.
    """

    def __init__(
        self,
        settings: Chat,
        paid_enabled: bool,
        meter: Meter,
        observer: Observer,
        chance: random.Random | None = None,
    ) -> None:
        self._means = Means(settings, paid_enabled, meter, observer, chance or random.Random())

    def forbid_paid(self) -> None:
        """Begin no attempt any more that costs money, whatever call it is for."""
        self._means.paid_enabled = False

    async def embed(self, call: EmbedCall) -> Embedded:
        """Return embeddings in the order of the inputs.

        Raises:
            CallError: There are none. It tells what the first target failed with.
        """
        try:
            return await _Asking(self._means, call).answer()
        except InputTooLong as error:
            error.violations = [("inputs", "hold a text that is too long for the model")]
            raise


class _Asking:
    """One call. Made when it begins; `answer` is used once."""

    def __init__(self, means: Means, call: EmbedCall) -> None:
        self._means = means
        self._call = call
        self._limit = Limit(call.timeout_seconds * means.settings.max_attempts, call.deadline)
        self._plan = Plan(call.targets, means.settings, self._limit, means.chance)
        self._outcome = Outcome()

    async def answer(self) -> Embedded:
        """Return the embeddings of the first target that has them.

        Raises:
            CallError: None has.
        """
        try:
            while True:
                candidate = await self._next()
                # Nothing is waited for between a choice and its trial: else two calls might probe one target.
                with candidate.target.breaker.trial() as trial:
                    try:
                        return await self._ask(Attempt(candidate.target, trial))
                    except CallError as error:
                        self._plan.drop(candidate)
                        self._outcome.skipped.append(Skipped(candidate.target, error))
                    except Failure as failure:
                        self._decide(candidate, failure)
        except OutOfTime as error:
            raise self._outcome.out_of_time(self._limit, begun=False) from error

    async def _next(self) -> Candidate:
        """Return who is asked now, after waiting as long as it takes."""
        while True:
            if not self._limit.allows(0):
                raise OutOfTime
            may_try = len(self._outcome.tried) < self._means.settings.max_attempts
            choice = self._plan.choose() if may_try else None
            if choice is None:
                raise self._outcome.nobody_left([one.target for one in self._plan.candidates])
            if choice.seconds <= 0:
                self._plan.ask(choice.candidate)
                return choice.candidate
            await self._limit.wait(asyncio.sleep(choice.seconds))

    def _decide(self, candidate: Candidate, failure: Failure) -> None:
        """Decide whom a failure lets one ask next.

        Raises:
            CallError: Nobody.
        """
        if failure.may_retry and self._plan.retry(candidate):
            return
        self._plan.drop(candidate)
        if not failure.may_fall_back:
            raise self._outcome.rejected() from failure

    async def _ask(self, attempt: Attempt) -> Embedded:
        """Ask one target, and report how that ended.

        Raises:
            CallError: It must not be asked.
            Failure: It has no answer.
            OutOfTime: The call's time is over.
        """
        ended: str = CANCELLED
        before = self._outcome.tried[-1] if self._outcome.tried else None
        try:
            embedded = await self._limit.wait(self._embedded(attempt))
            ended = ANSWERED
        except CallError:
            ended = ""  # it was not asked
            raise
        except Failure as failure:
            attempt.learn(failure, self._means.settings)
            ended = reason_of(failure)
            self._outcome.tried.append(Tried(attempt.target, ended, failure))
            raise
        except OutOfTime:
            ended = str(Reason.DEADLINE if self._limit.is_callers else Reason.UPSTREAM_UNAVAILABLE)
            self._outcome.tried.append(Tried(attempt.target, ended, None))
            raise
        finally:
            if ended:
                self._tell(attempt, before, ended)
        attempt.trial.succeeds()
        return embedded

    async def _embedded(self, attempt: Attempt) -> Embedded:
        target, call = attempt.target, self._call
        await self._check_paid(target)
        reservation = await self._reserve(target)
        try:
            found = await target.provider.embed(
                target.upstream_model, call.inputs, None, call.timeout_seconds
            )
            _check(found, call)
        except BaseException as error:
            sent = not isinstance(error, Failure) or error.may_have_cost
            reservation.abandon(sent=sent)
            raise
        # Nothing is written for an embedding, whether or not the provider says so.
        usage = replace(found.usage, output_tokens=None)
        cost = reservation.settle(replace(usage, output_tokens=0))
        provider, seconds = target.provider.name, time.perf_counter() - attempt.began_at
        report = AttemptReport(provider, target.upstream_model, "", None, seconds, usage, cost)
        self._means.observer.spent(report)
        return Embedded(found.vectors, report)

    async def _check_paid(self, target: Target) -> None:
        """Refuse a target that costs money, if nothing may; a local provider may have to be asked.

        It is asked as well where money may be spent: only then is what it says put on the account.

        Raises:
            PaidDisabled: It does.
            Failure: The provider did not say, and has to.
        """
        means = self._means
        if target.is_paid:
            if not means.paid_enabled:
                raise PaidDisabled(target.name)
            return
        try:
            facts = await target.facts()
        except Failure:
            if not means.paid_enabled:
                raise
            return
        if facts.remote and not means.paid_enabled:
            raise PaidDisabled(target.name)

    async def _reserve(self, target: Target) -> Reservation:
        # What is to be embedded is read like a conversation to which nobody answers.
        texts = tuple(Text(one) for one in self._call.inputs)
        read = Conversation((Message("user", texts),), max_output_tokens=1)
        reserved = await self._means.meter.reserve(target, read)
        if isinstance(reserved, Refusal):
            message = f"{target.name}: {reserved.message}"
            raise BudgetExhausted(message, retry_after_seconds=reserved.retry_after_seconds)
        return reserved

    def _tell(self, attempt: Attempt, before: Tried | None, ended: str) -> None:
        """Tell the observer of an attempt, and why it was made if another was made before."""
        observer, name = self._means.observer, attempt.target.name
        if before is not None:
            told = observer.retried if before.target is attempt.target else observer.fell_back
            told(before.target.name, before.reason)
        observer.attempt_ended(name, ended, time.perf_counter() - attempt.began_at)


def _check(found: Embeddings, call: EmbedCall) -> None:
    """Refuse embeddings that cannot be what was asked for.

    Raises:
        Failure: Their number or their lengths are wrong, or their components are no 32-bit numbers.
    """
    lengths = {len(vector) for vector in found.vectors}
    wanted = {call.dimensions} if call.dimensions else lengths
    if len(found.vectors) != len(call.inputs) or len(lengths) != 1 or lengths != wanted or 0 in lengths:
        message = "the embeddings are not as many, or not as long, as they have to be"
        raise Failure(FailureKind.MALFORMED, message)
    if not all(_length(vector) <= LONGEST for vector in found.vectors):  # this way round NaN is refused, too
        raise Failure(FailureKind.MALFORMED, "the embeddings hold what is no number, or far too large")


def _length(vector: Sequence[float]) -> float:
    try:
        return math.hypot(*vector)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
