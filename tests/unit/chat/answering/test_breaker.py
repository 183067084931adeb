"""Ejection, probes and cool-downs."""

from __future__ import annotations

import pytest

from services.chat.answering.breaker import MAX_COOLING_SECONDS, Breaker, Standing, State
from services.config import Chat
from tests.support.fakeclock import FakeClock

SETTINGS = Chat(ejection_failures=3, ejection_seconds=10.0, max_ejection_seconds=35.0)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock."""
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    """Return a breaker that goes by the clock."""
    return Breaker(SETTINGS, clock)


def fail(breaker: Breaker, times: int = 1) -> None:
    """Let attempts fail one after the other."""
    for _ in range(times):
        with breaker.trial() as trial:
            trial.fails()


def test_a_target_is_ejected_after_so_many_failures_in_a_row(breaker: Breaker) -> None:
    """One failure fewer changes nothing."""
    fail(breaker, 2)
    assert breaker.standing() == Standing(State.HEALTHY)
    fail(breaker)
    assert breaker.standing() == Standing(State.EJECTED, 10.0)
    assert not breaker.is_favoured


def test_an_answer_between_failures_begins_the_count_anew(breaker: Breaker) -> None:
    """Failures that are not in a row do not add up."""
    fail(breaker, 2)
    with breaker.trial() as trial:
        trial.succeeds()
    fail(breaker, 2)
    assert breaker.standing().state is State.HEALTHY


def test_an_answer_that_only_begins_does_not_begin_the_count_anew(breaker: Breaker) -> None:
    """A target that always breaks off in the middle is ejected too."""
    for _ in range(3):
        with breaker.trial() as trial:
            trial.begins()
            trial.fails()
    assert breaker.standing().state is State.EJECTED


def test_one_probe_at_a_time_tries_an_ejected_target(breaker: Breaker, clock: FakeClock) -> None:
    """While a probe is on its way, nobody else is sent to the target."""
    fail(breaker, 3)
    clock.advance(10.0)
    assert breaker.standing() == Standing(State.PROBING)
    assert breaker.is_favoured
    with breaker.trial() as probe:
        assert probe.is_probe
        assert not breaker.is_favoured
        with breaker.trial() as other:
            assert not other.is_probe
    assert breaker.is_favoured


def test_each_failed_probe_doubles_the_time_up_to_the_longest(breaker: Breaker, clock: FakeClock) -> None:
    """10, 20, 35 and 35 seconds."""
    fail(breaker, 3)
    waits = []
    for _ in range(4):
        seconds = breaker.standing().seconds
        assert seconds is not None
        waits.append(seconds)
        clock.advance(seconds)
        fail(breaker)
    assert waits == [10.0, 20.0, 35.0, 35.0]


def test_a_probe_that_is_answered_ends_the_ejection(breaker: Breaker, clock: FakeClock) -> None:
    """Afterwards the count and the times begin anew."""
    fail(breaker, 3)
    clock.advance(10.0)
    fail(breaker)
    clock.advance(20.0)
    with breaker.trial() as probe:
        probe.succeeds()
    assert breaker.standing() == Standing(State.HEALTHY)
    fail(breaker, 3)
    assert breaker.standing() == Standing(State.EJECTED, 10.0)


def test_the_first_content_of_a_probe_ends_the_ejection_on_trust(breaker: Breaker, clock: FakeClock) -> None:
    """Others need not wait for a long answer, but if it breaks off the target is ejected for longer."""
    fail(breaker, 3)
    clock.advance(10.0)
    with breaker.trial() as probe:
        probe.begins()
        assert breaker.standing() == Standing(State.HEALTHY)
        probe.fails()
    assert breaker.standing() == Standing(State.EJECTED, 20.0)


def test_a_probe_without_a_word_gives_its_place_to_another(breaker: Breaker, clock: FakeClock) -> None:
    """A caller who leaves does not keep the target ejected for ever."""
    fail(breaker, 3)
    clock.advance(10.0)
    with breaker.trial():
        pass
    with breaker.trial() as probe:
        assert probe.is_probe


def test_failures_of_last_resort_do_not_prolong_an_ejection(breaker: Breaker, clock: FakeClock) -> None:
    """Only probes do: a target without alternative is asked all the time."""
    fail(breaker, 3)
    clock.advance(4.0)
    fail(breaker, 5)
    assert breaker.standing() == Standing(State.EJECTED, 6.0)


def test_an_answer_of_last_resort_ends_an_ejection(breaker: Breaker) -> None:
    """Whoever answers is well."""
    fail(breaker, 3)
    with breaker.trial() as trial:
        trial.succeeds()
    assert breaker.standing().state is State.HEALTHY


def test_what_began_before_an_ejection_does_not_end_it(breaker: Breaker) -> None:
    """A long answer that began in better times says nothing about now."""
    with breaker.trial() as early:
        fail(breaker, 3)
        early.begins()
        early.succeeds()
    assert breaker.standing().state is State.EJECTED


def test_a_probe_that_goes_on_for_long_does_not_make_room_for_a_second_later_one(
    breaker: Breaker, clock: FakeClock
) -> None:
    """Its place was taken by another since: the target had begun to answer, and then failed others."""
    fail(breaker, 3)
    clock.advance(10.0)
    with breaker.trial() as probe:
        probe.begins()
        fail(breaker)
        clock.advance(20.0)
        later = breaker.trial()
        assert later.__enter__().is_probe
    assert not breaker.is_favoured
    later.__exit__(None, None, None)
    assert breaker.is_favoured


def test_many_early_failures_count_as_one_ejection(breaker: Breaker) -> None:
    """Calls that were under way together do not double the time together."""
    with breaker.trial() as one, breaker.trial() as two:
        fail(breaker, 3)
        one.fails()
        two.fails()
    assert breaker.standing() == Standing(State.EJECTED, 10.0)


def test_a_later_wish_to_be_left_alone_extends_and_never_shortens(breaker: Breaker, clock: FakeClock) -> None:
    """The longest wish counts."""
    breaker.cool(20.0)
    breaker.cool(5.0)
    assert breaker.standing() == Standing(State.COOLING, 20.0)
    clock.advance(15.0)
    breaker.cool(10.0)
    assert breaker.cooling_seconds == 10.0
    clock.advance(10.0)
    assert breaker.standing() == Standing(State.HEALTHY)


def test_a_nonsensical_wish_is_not_granted_in_full(breaker: Breaker) -> None:
    """A time stamp where seconds belong must not take a target away for ever."""
    breaker.cool(1_800_000_000.0)
    assert breaker.cooling_seconds == MAX_COOLING_SECONDS


def test_an_ejected_target_that_cools_is_ejected_until_both_are_over(breaker: Breaker) -> None:
    """The later of the two is what an operator wants to know."""
    fail(breaker, 3)
    breaker.cool(60.0)
    assert breaker.standing() == Standing(State.EJECTED, 60.0)


def test_changes_are_told(clock: FakeClock) -> None:
    """Metrics see ejections, probes, recoveries and cool-downs when they happen."""
    states: list[State] = []
    breaker = Breaker(SETTINGS, clock, states.append)
    fail(breaker, 3)
    clock.advance(10.0)
    with breaker.trial() as probe:
        probe.succeeds()
    breaker.cool(1.0)
    assert states == [State.EJECTED, State.PROBING, State.HEALTHY, State.COOLING]
