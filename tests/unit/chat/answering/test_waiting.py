"""Back-offs, wishes to be left alone, and deadlines."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from services.chassis.errors import DeadlinePassed
from services.chat.answer import Piece, TextPiece
from services.chat.answering.breaker import State
from services.chat.errors import TargetBusy, UpstreamInterrupted, UpstreamRateLimited, UpstreamUnavailable
from services.chat.providers.failure import FailureKind
from services.config import Chat
from tests.unit.chat.answering.scripted import Act, ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time, now

DOWN = fails(FailureKind.UNAVAILABLE)


def limited(seconds: float | None) -> Act:
    """Ask to be left alone."""
    return fails(FailureKind.RATE_LIMITED, seconds, 429)


@in_virtual_time
async def test_back_offs_are_drawn_from_twice_the_range_each_time_up_to_the_longest() -> None:
    """Each lies between zero and 0.5, 1, 2, 4, 8 and 8 seconds, and together they fill these ranges."""
    longest = [0.0] * 6
    for seed in range(200):
        stage = Stage(Chat(max_retries=6, max_attempts=7, ejection_failures=100), chance=random.Random(seed))
        provider = ScriptedProvider("one", DOWN)
        with pytest.raises(UpstreamUnavailable):
            await stage.answer(*stage.targets(provider))
        times = provider.times
        pauses = [after - before for before, after in pairwise(times)]
        longest = [max(one, other) for one, other in zip(longest, pauses, strict=True)]
    for measured, allowed in zip(longest, [0.5, 1, 2, 4, 8, 8], strict=True):
        assert 0.9 * allowed < measured <= allowed + 1e-6


@in_virtual_time
async def test_a_wish_to_be_left_alone_is_granted_before_the_same_target_is_asked_again() -> None:
    """The wait is at least what was asked for, and at most the back-off longer."""
    stage = Stage()
    one = ScriptedProvider("one", limited(2.0), says("yes"))
    answer = await stage.answer(*stage.targets(one, ScriptedProvider("two", says("no"))))
    assert answer.text == "yes"
    assert 2.0 <= one.times[1] - one.times[0] <= 2.5


@pytest.mark.parametrize(
    "more", [{}, {"total_seconds": 5.0}], ids=["longer than allowed", "longer than there is"]
)
@in_virtual_time
async def test_who_wants_to_be_left_alone_for_too_long_is_not_waited_for(more: dict[str, float]) -> None:
    """The next target is asked at once."""
    stage = Stage(Chat(max_wait_seconds=10.0))
    one, two = ScriptedProvider("one", limited(8.0 if more else 11.0)), ScriptedProvider("two", says("yes"))
    began = now()
    assert (await stage.answer(*stage.targets(one, two), **more)).text == "yes"
    assert now() == began


@in_virtual_time
async def test_callers_who_were_sent_away_do_not_come_back_all_at_once() -> None:
    """The back-off is on top of what was asked for."""
    pauses = []
    for seed in range(20):
        stage = Stage(chance=random.Random(seed))
        provider = ScriptedProvider("one", limited(2.0), says("yes"))
        await stage.answer(*stage.targets(provider))
        pauses.append(provider.times[1] - provider.times[0])
    assert max(pauses) - min(pauses) > 0.3


@in_virtual_time
async def test_alone_such_a_target_makes_the_call_fail_with_the_time_to_wait() -> None:
    """No second request is sent."""
    stage = Stage()
    one = ScriptedProvider("one", limited(20.0))
    began = now()
    with pytest.raises(UpstreamRateLimited) as caught:
        await stage.answer(*stage.targets(one))
    assert caught.value.retry_after_seconds == pytest.approx(20.0)
    assert (len(one.asks), now()) == (1, began)


@in_virtual_time
async def test_the_time_to_wait_is_the_shortest_that_is_known() -> None:
    """Whichever target it is of."""
    stage = Stage()
    providers = [
        ScriptedProvider(name, limited(wait)) for name, wait in (("a", 90.0), ("b", 40.0), ("c", 60.0))
    ]
    with pytest.raises(UpstreamRateLimited) as caught:
        await stage.answer(*stage.targets(*providers))
    assert str(caught.value).startswith("a/m: ")
    assert caught.value.retry_after_seconds == pytest.approx(40.0)


@in_virtual_time
async def test_a_full_queue_here_says_when_to_come_back_and_cools_nothing() -> None:
    """The provider did not ask for anything."""
    stage = Stage()
    [target] = stage.targets(ScriptedProvider("one", fails(FailureKind.BUSY, 1.0)))
    with pytest.raises(TargetBusy) as caught:
        await stage.answer(target)
    assert caught.value.retry_after_seconds == 1.0
    assert target.breaker.standing().state is State.HEALTHY


@in_virtual_time
async def test_a_cooling_target_is_passed_over_as_long_as_there_is_another() -> None:
    """A call that comes later does not wait for it, nor does it ask it."""
    stage = Stage()
    one, two = ScriptedProvider("one", says("no")), ScriptedProvider("two", says("yes"))
    targets = stage.targets(one, two)
    targets[0].breaker.cool(5.0)
    began = now()
    assert (await stage.answer(*targets)).started.provider == "two"
    assert (one.asks, now()) == ([], began)


@in_virtual_time
async def test_if_all_targets_cool_the_one_that_is_back_first_is_waited_for() -> None:
    """If that does not take too long."""
    stage = Stage()
    one, two = ScriptedProvider("one", says("no")), ScriptedProvider("two", says("yes"))
    targets = stage.targets(one, two)
    targets[0].breaker.cool(9.0)
    targets[1].breaker.cool(4.0)
    began = now()
    assert (await stage.answer(*targets)).started.provider == "two"
    assert two.times[0] - began == pytest.approx(4.0)


@pytest.mark.parametrize("more", [{}, {"total_seconds": 15.0}])
@in_virtual_time
async def test_if_all_cool_for_too_long_the_call_fails_without_any_request(more: dict[str, float]) -> None:
    """At once, and with the time to wait."""
    stage = Stage(Chat(max_wait_seconds=60.0 if more else 10.0))
    providers = [ScriptedProvider("one", says("no")), ScriptedProvider("two", says("no"))]
    targets = stage.targets(*providers)
    targets[0].breaker.cool(50.0)
    targets[1].breaker.cool(20.0)
    began = now()
    with pytest.raises(UpstreamRateLimited, match="two/m") as caught:
        await stage.answer(*targets, **more)
    assert caught.value.retry_after_seconds == pytest.approx(20.0)
    assert (now(), [provider.asks for provider in providers]) == (began, [[], []])


@in_virtual_time
async def test_a_longer_wish_that_comes_while_a_call_waits_is_granted_too() -> None:
    """The call looks again after its wait."""
    stage = Stage()
    provider = ScriptedProvider("one", says("yes"))
    [target] = stage.targets(provider)
    target.breaker.cool(4.0)
    began = now()
    asyncio.get_running_loop().call_later(2.0, target.breaker.cool, 5.0)
    await stage.answer(target)
    assert provider.times[0] - began == pytest.approx(7.0)


@in_virtual_time
async def test_too_many_requests_without_a_time_cool_a_target_for_the_back_off() -> None:
    """Other calls do not run into the same refusal at once."""
    stage = Stage(Chat(max_retries=0, backoff_seconds=0.7))
    [target] = stage.targets(ScriptedProvider("one", limited(None)))
    with pytest.raises(UpstreamRateLimited):
        await stage.answer(target)
    assert target.breaker.cooling_seconds == pytest.approx(0.7)


@in_virtual_time
async def test_a_silent_target_is_not_asked_again() -> None:
    """It has had its time; the next one is asked."""
    stage = Stage()
    one = ScriptedProvider("one", (60.0, *fails(FailureKind.TIMEOUT)))
    assert (await stage.answer(*stage.targets(one, ScriptedProvider("two", says("yes"))))).text == "yes"
    assert len(one.asks) == 1


@pytest.mark.parametrize("act", [(100.0,), ([], 100.0)], ids=["no response", "no content"])
@pytest.mark.parametrize("hold", [True, False])
@in_virtual_time
async def test_a_call_ends_when_its_time_is_over(act: Act, hold: bool) -> None:
    """It says what was going on, and the target is not to blame."""
    stage = Stage()
    one = ScriptedProvider("one", act)
    [target] = stage.targets(one)
    began = now()
    with pytest.raises(UpstreamUnavailable, match="within 7 s") as caught:
        await stage.answer(target, total_seconds=7.0, hold=hold)
    assert now() - began == pytest.approx(7.0)
    assert caught.value.metadata == {"attempts": "one/m UPSTREAM_UNAVAILABLE"}
    assert stage.watcher.log[-1] == ("ended", "one/m", "UPSTREAM_UNAVAILABLE")
    assert (one.open, target.breaker.standing().state) == (0, State.HEALTHY)


@in_virtual_time
async def test_a_call_whose_time_is_over_in_the_middle_is_interrupted() -> None:
    """Something was passed on already."""
    stage = Stage()
    with pytest.raises(UpstreamInterrupted, match="within 7 s"):
        await stage.answer(
            *stage.targets(ScriptedProvider("one", ([TextPiece(0, "Hel")], 100.0))), total_seconds=7.0
        )


@pytest.mark.parametrize("begun", [True, False])
@in_virtual_time
async def test_a_caller_whose_deadline_passes_is_told_so(begun: bool) -> None:
    """It is not a failure of the provider."""
    stage = Stage()
    first: list[Piece] = [TextPiece(0, "Hel")] if begun else []
    [target] = stage.targets(ScriptedProvider("one", (first, 100.0)))
    with pytest.raises(DeadlinePassed):
        await stage.answer(target, deadline=now() + 3.0)
    assert stage.watcher.log[-1] == ("ended", "one/m", "DEADLINE")


@in_virtual_time
async def test_nobody_is_asked_for_a_caller_whose_deadline_has_passed() -> None:
    """Not even for what is known of a model."""
    stage = Stage()
    provider = ScriptedProvider("one", says("no"))
    with pytest.raises(DeadlinePassed):
        await stage.answer(*stage.targets(provider), deadline=now())
    assert provider.asks == []


@in_virtual_time
async def test_a_back_off_that_leads_beyond_the_deadline_is_not_begun() -> None:
    """The call fails at once with what happened, not later with less."""
    stage = Stage(Chat(backoff_seconds=8.0), chance=random.Random(4))
    began = now()
    with pytest.raises(UpstreamUnavailable):
        await stage.answer(*stage.targets(ScriptedProvider("one", DOWN)), deadline=now() + 0.1)
    assert now() == began
