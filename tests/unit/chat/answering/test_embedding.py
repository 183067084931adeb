"""Embedding follows the rules of answering: who is asked, how often, and who pays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.chassis.errors import CallError, DeadlinePassed
from services.chat.answer import Usage
from services.chat.answering.breaker import State
from services.chat.answering.embedding import EmbedCall, Embedded, Embedding
from services.chat.answering.target import Target
from services.chat.errors import (
    BudgetExhausted,
    ContentRejected,
    PaidDisabled,
    UpstreamAuth,
    UpstreamRateLimited,
    UpstreamUnavailable,
)
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind, Told
from services.chat.providers.provider import Embeddings
from services.config import Chat
from tests.unit.chat.answering.scripted import Money, ScriptedProvider, Stage, says
from tests.unit.chat.answering.virtual_time import in_virtual_time, now

Vectors = Sequence[Sequence[float]]
GOOD: Vectors = ((1.0, 2.0), (3.0, 4.0))
INPUTS = ("a", "b")


def failing(kind: FailureKind, wait: float | None = None) -> Failure:
    """Return a failure."""
    return Failure(kind, "it failed", Told(retry_after_seconds=wait))


class Embedder(ScriptedProvider):
    """Answers with vectors, fails, or says nothing for so long; the last act is for all that follow.

    Attributes:
        asked: When it was asked.
    """

    def __init__(self, name: str, *acts: Vectors | Failure | float, **more: Any) -> None:
        super().__init__(name, says(), **more)
        self._acts = list(acts)
        self.asked: list[float] = []

    async def embed(
        self, upstream_model: str, inputs: Sequence[str], dimensions: int | None, timeout_seconds: float
    ) -> Embeddings:
        """Follow the next act."""
        assert (upstream_model, inputs, dimensions) == ("m", INPUTS, None)
        self.asked.append(now())
        act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        if isinstance(act, Failure):
            raise act
        if isinstance(act, float):
            await asyncio.sleep(min(act, timeout_seconds))
            raise failing(FailureKind.TIMEOUT)
        return Embeddings(act, Usage(input_tokens=5, output_tokens=0))


async def embedded(stage: Stage, *targets: Target, **more: Any) -> Embedded:
    """Make a call."""
    embedding = Embedding(stage.settings, stage.paid_enabled, stage.money, stage.watcher, stage.chance)
    call = EmbedCall(targets, INPUTS, **{"dimensions": None, "timeout_seconds": 60.0, **more})
    return await embedding.embed(call)


async def refused(stage: Stage, *targets: Target, **more: Any) -> CallError:
    """Make a call that fails."""
    with pytest.raises(CallError) as caught:
        await embedded(stage, *targets, **more)
    return caught.value


@in_virtual_time
async def test_first_target_answers_if_it_can() -> None:
    """Its usage has no output, whatever it says; the attempt is paid for and reported."""
    stage, one, two = Stage(), Embedder("one", GOOD), Embedder("two", GOOD)
    found = await embedded(stage, *stage.targets(one, two))
    assert found.vectors == GOOD
    assert (found.attempt.provider, found.attempt.upstream_model) == ("one", "m")
    assert (found.attempt.usage, found.attempt.cost_nano_usd) == (Usage(input_tokens=5), 0)
    assert two.asked == []
    assert stage.money.log == [("reserved", "one/m"), ("settled", "one/m")]
    assert stage.watcher.log == [("ended", "one/m", "OK")]


@in_virtual_time
async def test_target_that_fails_is_asked_again_and_then_the_next_one() -> None:
    """As often as configured, after growing back-offs; what may have been worked on stays booked."""
    stage = Stage()
    one, two = Embedder("one", failing(FailureKind.UNAVAILABLE)), Embedder("two", GOOD)
    found = await embedded(stage, *stage.targets(one, two))
    assert found.attempt.provider == "two"
    assert len(one.asked) == stage.settings.max_retries + 1
    assert one.asked == sorted(set(one.asked))
    kept = [("reserved", "one/m"), ("kept", "one/m")] * 3
    assert stage.money.log == [*kept, ("reserved", "two/m"), ("settled", "two/m")]
    why = [entry for entry in stage.watcher.log if entry[0] != "ended"]
    reason = "UPSTREAM_UNAVAILABLE"
    assert why == [*[("retried", "one/m", reason)] * 2, ("fell back", "one/m", reason)]


@in_virtual_time
async def test_failure_of_the_last_target_is_no_fallback() -> None:
    """Nobody was asked instead. The caller is told what the first target failed with."""
    stage = Stage()
    one = Embedder("one", failing(FailureKind.AUTHENTICATION))
    two = Embedder("two", failing(FailureKind.MODEL_MISSING))
    error = await refused(stage, *stage.targets(one, two))
    assert isinstance(error, UpstreamAuth)
    assert error.metadata["attempts"] == "one/m UPSTREAM_AUTH; two/m UPSTREAM_MODEL_MISSING"
    assert [entry for entry in stage.watcher.log if entry[0] == "fell back"] == [
        ("fell back", "one/m", "UPSTREAM_AUTH")
    ]


@in_virtual_time
async def test_target_that_says_nothing_leaves_time_for_the_next() -> None:
    """Each has the whole time of the model; it is not asked again, and may have worked for its money."""
    stage, one, two = Stage(), Embedder("one", 1000.0), Embedder("two", GOOD)
    began = now()
    found = await embedded(stage, *stage.targets(one, two), timeout_seconds=30.0)
    assert found.attempt.provider == "two"
    assert (one.asked, two.asked) == ([began], [began + 30.0])
    assert ("kept", "one/m") in stage.money.log


@in_virtual_time
async def test_deadline_of_the_caller_ends_everything() -> None:
    """Whatever is being waited for; what is under way is cut off and counted, and nobody else is asked."""
    stage, one, two = Stage(), Embedder("one", 1000.0), Embedder("two", GOOD)
    deadline = now() + 5.0
    error = await refused(stage, *stage.targets(one, two), deadline=deadline)
    assert isinstance(error, DeadlinePassed)
    assert (now(), two.asked) == (deadline, [])
    assert stage.watcher.log == [("ended", "one/m", "DEADLINE")]
    assert stage.money.log == [("reserved", "one/m"), ("kept", "one/m")]
    late = await refused(stage, *stage.targets(two), deadline=deadline - 1.0)
    assert isinstance(late, DeadlinePassed)
    assert two.asked == []


@in_virtual_time
async def test_attempts_of_a_call_are_limited() -> None:
    """Over all its targets."""
    stage = Stage(Chat(max_attempts=4))
    providers = [Embedder(name, failing(FailureKind.UNAVAILABLE)) for name in ("one", "two", "three")]
    error = await refused(stage, *stage.targets(*providers))
    assert isinstance(error, UpstreamUnavailable)
    assert [len(one.asked) for one in providers] == [3, 1, 0]


@in_virtual_time
async def test_request_that_no_target_would_take_is_given_up() -> None:
    """The next one would refuse it as well."""
    stage = Stage()
    one, two = Embedder("one", failing(FailureKind.CONTENT_FILTERED)), Embedder("two", GOOD)
    assert isinstance(await refused(stage, *stage.targets(one, two)), ContentRejected)
    assert two.asked == []


@in_virtual_time
async def test_breaker_learns_from_embedding() -> None:
    """A target that failed several times is asked last; one that answers is healthy again."""
    stage = Stage(Chat(max_retries=0, ejection_failures=1, ejection_seconds=10.0))
    one = Embedder("one", failing(FailureKind.UNAVAILABLE), GOOD)
    targets = stage.targets(one, Embedder("two", GOOD))
    assert (await embedded(stage, *targets)).attempt.provider == "two"
    assert targets[0].breaker.standing().state is State.EJECTED
    assert (await embedded(stage, *targets)).attempt.provider == "two"
    await asyncio.sleep(10.0)
    assert (await embedded(stage, *targets)).attempt.provider == "one"
    assert targets[0].breaker.standing().state is State.HEALTHY


@in_virtual_time
async def test_target_that_wants_to_be_left_alone_is_waited_for_if_it_is_soon() -> None:
    """If not, the caller is told when to come back."""
    stage = Stage()
    soon = Embedder("soon", failing(FailureKind.RATE_LIMITED, 3.0), GOOD)
    await embedded(stage, *stage.targets(soon))
    assert soon.asked[1] - soon.asked[0] >= 3.0
    late = Embedder("late", failing(FailureKind.RATE_LIMITED, 60.0), GOOD)
    error = await refused(stage, *stage.targets(late))
    assert isinstance(error, UpstreamRateLimited)
    assert error.retry_after_seconds == pytest.approx(60.0)
    assert len(late.asked) == 1


@in_virtual_time
async def test_paid_targets_are_not_asked_while_nothing_may_cost() -> None:
    """Nor are local ones that turn out to be remote. Both are no attempts."""
    stage = Stage(paid_enabled=False)
    dear, far = Embedder("dear", GOOD, paid=True), Embedder("far", GOOD, facts=Facts(remote=True))
    near = Embedder("near", GOOD)
    found = await embedded(stage, *stage.targets(dear, far, near))
    assert found.attempt.provider == "near"
    assert isinstance(await refused(stage, *stage.targets(dear, far)), PaidDisabled)
    assert dear.asked == far.asked == []
    assert stage.watcher.log == [("ended", "near/m", "OK")]


@in_virtual_time
async def test_provider_that_cannot_say_whether_it_is_paid_has_failed() -> None:
    """It is counted as an attempt like any other, with its retries."""
    stage = Stage(Chat(max_retries=1), paid_enabled=False)
    one = Embedder("one", GOOD, facts=failing(FailureKind.UNAVAILABLE))
    assert isinstance(await refused(stage, *stage.targets(one)), UpstreamUnavailable)
    ended, reason = ("ended", "one/m", "UPSTREAM_UNAVAILABLE"), "UPSTREAM_UNAVAILABLE"
    assert sorted(stage.watcher.log) == [ended, ended, ("retried", "one/m", reason)]
    assert stage.money.log == []


@in_virtual_time
async def test_local_provider_is_asked_whether_its_model_is_remote_where_money_may_be_spent() -> None:
    """Or else what is embedded far away would be put on no account; where it cannot say, it is local."""
    stage = Stage()
    told: list[str] = []

    class Telling(Embedder):
        async def facts(self, upstream_model: str) -> Facts:
            told.append(self.name)
            return await super().facts(upstream_model)

    one, two = Telling("one", GOOD, facts=failing(FailureKind.UNAVAILABLE)), Telling("two", GOOD, paid=True)
    for target in stage.targets(one, two):
        assert (await embedded(stage, target)).vectors == GOOD
    assert told == ["one"]


@in_virtual_time
async def test_target_that_is_too_dear_is_left_out() -> None:
    """The next one is asked; if there is none, the caller is told why."""
    stage = Stage(money=Money("one/m"))
    one, two = Embedder("one", GOOD), Embedder("two", GOOD)
    targets = stage.targets(one, two)
    assert (await embedded(stage, *targets)).attempt.provider == "two"
    error = await refused(stage, targets[0])
    assert isinstance(error, BudgetExhausted)
    assert error.retry_after_seconds == 60.0
    assert one.asked == []


@pytest.mark.parametrize(
    "vectors",
    [
        (),
        (GOOD[0],),
        (*GOOD, GOOD[0]),
        ((1.0,), (1.0, 2.0)),
        ((), ()),
        ((1.0, float("nan")), (1.0, 2.0)),
        ((1.0, float("inf")), (1.0, 2.0)),
        ((1.0, 1e39), (1.0, 2.0)),
        ((1, 10**400), (1, 2)),
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
    ],
    ids=str,
)
def test_embeddings_that_cannot_be_are_a_failure(vectors: Vectors) -> None:
    """Too few, too many, of several lengths, empty, no numbers of 32 bits, of another length than wanted."""

    @in_virtual_time
    async def run() -> None:
        stage = Stage(Chat(max_retries=0))
        one, two = Embedder("one", vectors), Embedder("two", GOOD)
        found = await embedded(stage, *stage.targets(one, two), dimensions=2)
        assert (found.vectors, len(one.asked)) == (GOOD, 1)
        assert ("kept", "one/m") in stage.money.log

    run()


@in_virtual_time
async def test_caller_that_leaves_is_counted_and_pays_for_what_may_have_been_done() -> None:
    """Nobody is asked after that, and nothing is learnt about the target."""
    stage = Stage(Chat(ejection_failures=1))
    one, two = Embedder("one", 1000.0), Embedder("two", GOOD)
    targets = stage.targets(one, two)
    call = asyncio.create_task(embedded(stage, *targets))
    await asyncio.sleep(1.0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert two.asked == []
    assert stage.watcher.log == [("ended", "one/m", "CANCELLED")]
    assert stage.money.log == [("reserved", "one/m"), ("kept", "one/m")]
    assert targets[0].breaker.standing().state is State.HEALTHY
