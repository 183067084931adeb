"""When a replica is taken out, and how it comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.config import Channels
from services.router.routing.ejection import Ejection, Standing, Trial
from tests.support.fakeclock import FakeClock

SETTINGS = Channels(
    ejection_failures=3,
    ejection_share=0.5,
    ejection_min_calls=10,
    ejection_window_seconds=10.0,
    ejection_seconds=5.0,
    max_ejection_seconds=12.0,
)


def made(clock: FakeClock, may_eject: Callable[[], bool] = lambda: True) -> tuple[Ejection, list[Standing]]:
    """Return the record of a replica, and what it tells of changes."""
    told: list[Standing] = []
    return Ejection(SETTINGS, clock, may_eject, told.append), told


def fail(ejection: Ejection, times: int = 1) -> None:
    """Have calls fail one after another."""
    for _ in range(times):
        ejection.begin().failed()


def test_failures_in_a_row_eject_and_an_answer_between_them_does_not() -> None:
    """Three in a row are too many; two, an answer and two more are not."""
    ejection, told = made(FakeClock())
    fail(ejection, 2)
    ejection.begin().succeeded()
    fail(ejection, 2)
    assert not told
    fail(ejection)
    assert (ejection.standing, ejection.count, told) == (Standing.EJECTED, 1, [Standing.EJECTED])
    assert "3 calls in a row failed" in ejection.detail


def test_a_large_share_of_failures_ejects_once_there_were_enough_calls() -> None:
    """Every second call fails: never three in a row, and yet half of what is sent there is lost."""
    ejection, _ = made(FakeClock())
    for _ in range(5):
        assert ejection.standing is Standing.HEALTHY
        ejection.begin().succeeded()
        fail(ejection)
    assert ejection.standing is Standing.EJECTED
    assert "5 of 10 calls failed" in ejection.detail


def test_failures_of_long_ago_count_no_more() -> None:
    """The window moves on: five old failures and five new answers are no share of anything."""
    clock = FakeClock()
    ejection, _ = made(clock)
    for _ in range(4):
        fail(ejection)
        ejection.begin().succeeded()
    clock.advance(11)
    ejection.begin().succeeded()
    fail(ejection, 2)
    assert ejection.standing is Standing.HEALTHY


def test_an_ejected_replica_is_tried_by_one_call_at_a_time_when_its_time_is_over() -> None:
    """An answer to it ends the ejection."""
    clock = FakeClock()
    ejection, told = made(clock)
    fail(ejection, 3)
    assert not ejection.wants_probe
    clock.advance(5)
    assert (ejection.standing, ejection.wants_probe) == (Standing.PROBING, True)
    probe = ejection.begin()
    assert probe.is_probe
    assert not ejection.wants_probe
    assert not ejection.begin().is_probe
    probe.succeeded()
    assert (ejection.standing, ejection.detail) == (Standing.HEALTHY, "")
    assert told == [Standing.EJECTED, Standing.HEALTHY]


def test_a_probe_that_fails_ejects_for_longer_up_to_a_bound() -> None:
    """5 s, 10 s, then 12 s at most."""
    clock = FakeClock()
    ejection, _ = made(clock)
    fail(ejection, 3)
    lasted = []
    for _ in range(4):
        began = clock.now
        while ejection.standing is Standing.EJECTED:
            clock.advance(1)
        lasted.append(clock.now - began)
        fail(ejection)
    assert lasted == [5, 10, 12, 12]
    assert ejection.count == 5


def test_good_behaviour_makes_the_next_ejection_short_again() -> None:
    """After being well for as long as several ejections, it is like the first one."""
    clock = FakeClock()
    ejection, _ = made(clock)
    fail(ejection, 3)
    for _ in range(2):
        clock.advance(12)
        fail(ejection)
    clock.advance(12)
    ejection.begin().succeeded()
    clock.advance(60)
    fail(ejection, 3)
    assert ejection.seconds == 5


def test_a_probe_that_ends_without_a_word_lets_the_next_call_try() -> None:
    """A caller who left has found out nothing, and must not block the replica for ever."""
    clock = FakeClock()
    ejection, _ = made(clock)
    fail(ejection, 3)
    clock.advance(5)
    ejection.begin().end()
    assert ejection.wants_probe


def test_calls_begun_before_an_ejection_say_nothing_about_it() -> None:
    """A crowd that fails together is one ejection, and an answer from before does not end it."""
    ejection, _ = made(FakeClock())
    crowd = [ejection.begin() for _ in range(20)]
    for trial in crowd[:19]:
        trial.failed()
    crowd[19].succeeded()
    assert (ejection.standing, ejection.count) == (Standing.EJECTED, 1)


def test_a_replica_that_the_others_cannot_do_without_stays() -> None:
    """Until they can: then the next failure is enough."""
    others = False
    ejection, told = made(FakeClock(), lambda: others)
    fail(ejection, 30)
    assert not told
    others = True
    fail(ejection)
    assert ejection.standing is Standing.EJECTED


def test_a_replica_that_was_ejected_and_answers_as_the_last_resort_is_well() -> None:
    """Nobody waits for the time to be over when the answer is there already."""
    ejection, _ = made(FakeClock())
    fail(ejection, 3)
    ejection.begin().succeeded()
    assert ejection.standing is Standing.HEALTHY


def test_another_process_at_the_same_place_starts_without_a_past() -> None:
    """And what the old one still fails does not count against it."""
    ejection, _ = made(FakeClock())
    late = [ejection.begin() for _ in range(5)]
    fail(ejection, 3)
    ejection.forgive()
    for trial in late:
        trial.failed()
    assert (ejection.standing, ejection.count) == (Standing.HEALTHY, 1)


@pytest.mark.parametrize("end", [Trial.succeeded, Trial.failed, Trial.end])
def test_a_call_ends_once(end: Callable[[Trial], None]) -> None:
    """Whatever is said after its end is not heard."""
    ejection, _ = made(FakeClock())
    fail(ejection, 2)
    trial = ejection.begin()
    end(trial)
    before = ejection.standing
    for _ in range(5):
        trial.failed()
    assert ejection.standing is before


class Calls(RuleBasedStateMachine):
    """Any calls in any order, while time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.others = True
        self.ejection, self.told = made(self.clock, lambda: self.others)
        self.trials: list[Trial] = []
        self.probes: list[Trial] = []

    @rule()
    def begin(self) -> None:
        """A call begins."""
        trial = self.ejection.begin()
        self.trials.append(trial)
        if trial.is_probe:
            self.probes.append(trial)

    @precondition(lambda self: self.trials)
    @rule(data=st.data(), how=st.sampled_from([Trial.succeeded, Trial.failed, Trial.end]))
    def end(self, data: st.DataObject, how: Callable[[Trial], None]) -> None:
        """One of those that run ends."""
        trial = self.trials.pop(data.draw(st.integers(0, len(self.trials) - 1)))
        how(trial)
        self.probes = [one for one in self.probes if one is not trial]

    @rule(seconds=st.floats(0.1, 20))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.advance(seconds)

    @rule()
    def another_process(self) -> None:
        """It was restarted."""
        self.ejection.forgive()
        self.probes.clear()

    @rule(others=st.booleans())
    def change_others(self, others: bool) -> None:
        """The others can, or cannot, do without it from now on."""
        self.others = others

    @invariant()
    def changes_alternate(self) -> None:
        """Nobody is told that a healthy replica is healthy."""
        healthy = [told for told in self.told if told is Standing.HEALTHY]
        assert len(self.told) - len(healthy) == self.ejection.count
        assert all(
            not (one is Standing.HEALTHY and other is Standing.HEALTHY)
            for one, other in zip(self.told, self.told[1:], strict=False)
        )

    @invariant()
    def is_never_stuck(self) -> None:
        """Whatever happened, time alone leads to a probe, unless one is under way."""
        if self.ejection.standing is Standing.PROBING and not self.probes:
            assert self.ejection.wants_probe

    @invariant()
    def at_most_one_probe(self) -> None:
        """Two calls never try it at a time."""
        assert len(self.probes) <= 1 or self.ejection.standing is not Standing.PROBING


TestCalls = Calls.TestCase


def test_a_stream_that_begins_ends_the_ejection_and_may_still_fail() -> None:
    """It may go on for an hour, in which the replica need not be left alone; its end counts as any does."""
    clock = FakeClock()
    ejection, told = made(clock)
    fail(ejection, 3)
    clock.advance(5.0)
    probe = ejection.begin()
    assert (probe.is_probe, ejection.wants_probe) == (True, False)
    probe.began()
    assert told == [Standing.EJECTED, Standing.HEALTHY]
    fail(ejection, 2)
    probe.failed()
    ejection.begin().began()  # one that was not to find out
    assert told == [Standing.EJECTED, Standing.HEALTHY, Standing.EJECTED]
