"""The judge of histories: what it must not let pass."""

from __future__ import annotations

from tests.support.history import Call, History, problems, summary, wrong_answers


def ended(kind: str = "embed", *, seconds: float = 0.1, code: str = "OK", deadline: float = 1.0) -> Call:
    """Return a call that took so long."""
    call = History().begin(kind, deadline, ["a", "b"])
    call.ends, call.code, call.ended = 1, code, call.began + seconds
    return call


def test_a_call_that_ended_in_time_and_once_is_no_problem() -> None:
    """Neither is one that failed, nor one that is a little late on a machine that is behind."""
    assert problems([ended(), ended(code="UNAVAILABLE"), ended(seconds=1.3)], lag_seconds=0.25) == []


def test_a_call_that_never_ended_or_ended_twice_is_a_problem() -> None:
    """Each is named, with how often it ended."""
    open_call, twice = History().begin("chat", 1.0, ["a"]), ended("nli")
    twice.ends = 2
    assert problems([open_call, twice], 0.0) == [
        "call 0 (chat, calm) ended 0 times",
        "call 0 (nli, calm) ended 2 times",
    ]


def test_a_call_that_outlives_its_deadline_is_a_problem() -> None:
    """By more than a tenth of a second and the lag."""
    (told,) = problems([ended(seconds=1.2)], lag_seconds=0.05)
    assert "0.200 s after its deadline" in told


def test_more_answers_from_the_cache_than_there_are_items_are_a_problem() -> None:
    """The count is checked against what was sent."""
    call = ended()
    call.cached_inputs = 3
    assert problems([call], 0.0) == ["call 0 (embed, calm) had 3 of 2 inputs from the cache"]


def test_an_answer_with_other_bits_than_before_is_noticed() -> None:
    """The first bits that were seen of an item are what all others are compared to."""
    history = History()
    assert history.same_bits(("embed", "a"), b"\x00")
    assert history.same_bits(("embed", "b"), b"\x01")
    assert not history.same_bits(("embed", "a"), b"\x01")
    call = ended()
    call.wrong = "embedding 0 of 1 is not that of its text"
    assert wrong_answers([ended(), call]) == [
        "call 0 (embed, calm): embedding 0 of 1 is not that of its text"
    ]


def test_impatient_callers_may_run_into_their_deadlines_and_nobody_else() -> None:
    """What they lose to it is counted by itself; any other failure of theirs counts as one."""
    late = "DEADLINE_EXCEEDED"
    calls = [ended("impatient", code=late), ended("embed", code=late), ended("impatient", code="INTERNAL")]
    found = summary([*calls, ended()])
    assert (found.calls, found.impatient, found.failed) == (4, 1, 2)
    assert dict(found.failures) == {("embed", late, ""): 1, ("impatient", "INTERNAL", ""): 1}
