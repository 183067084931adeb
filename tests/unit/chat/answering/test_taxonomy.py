"""What is done about each kind of failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import CODES, CallError, Reason
from services.chat.answer import SignaturePiece, TextPiece, UsageReport
from services.chat.answering.breaker import State
from services.chat.errors import ERRORS, UpstreamInterrupted, error_of
from services.chat.providers.failure import DO_NOT_RETRY, TREATMENTS, Failure, FailureKind, Told
from services.config import Chat
from tests.unit.chat.answering.scripted import USAGE, Act, ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time

KINDS = list(FailureKind)

EXPECTED = {
    FailureKind.REJECTED: ("UPSTREAM_REJECTED", "INVALID_ARGUMENT"),
    FailureKind.NOT_SUPPORTED: ("NOT_SUPPORTED", "INVALID_ARGUMENT"),
    FailureKind.MODEL_MISSING: ("UPSTREAM_MODEL_MISSING", "FAILED_PRECONDITION"),
    FailureKind.CONTEXT_LENGTH: ("INPUT_TOO_LONG", "INVALID_ARGUMENT"),
    FailureKind.CONTENT_FILTERED: ("CONTENT_REJECTED", "PERMISSION_DENIED"),
    FailureKind.AUTHENTICATION: ("UPSTREAM_AUTH", "FAILED_PRECONDITION"),
    FailureKind.QUOTA: ("UPSTREAM_QUOTA", "RESOURCE_EXHAUSTED"),
    FailureKind.RATE_LIMITED: ("UPSTREAM_RATE_LIMITED", "RESOURCE_EXHAUSTED"),
    FailureKind.UNAVAILABLE: ("UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
    FailureKind.TIMEOUT: ("UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
    FailureKind.BROKEN_OFF: ("UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
    FailureKind.MALFORMED: ("UPSTREAM_UNAVAILABLE", "UNAVAILABLE"),
    FailureKind.BUSY: ("QUEUE_FULL", "RESOURCE_EXHAUSTED"),
}


def test_every_kind_of_failure_has_an_error() -> None:
    """None is forgotten, and each arrives under its status code."""
    told = {kind: (str(ERRORS[kind].reason), CODES[Reason(ERRORS[kind].reason)].name) for kind in KINDS}
    assert told == EXPECTED


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_names_the_target_and_what_the_provider_said_in_codes(kind: FailureKind) -> None:
    """The message is ours; status and code are for programs."""
    error = error_of("one/m", Failure(kind, "it failed", Told(418, "teapot", 3.0)))
    assert str(error) == "one/m: it failed"
    assert error.metadata == {"upstreamStatus": "418", "upstreamCode": "teapot"}
    assert error.retry_after_seconds == 3.0


def before_content(kind: FailureKind) -> Act:
    """Begin well, and fail before there is any content."""
    return ([UsageReport(USAGE)], [SignaturePiece(0, b"s")], *fails(kind))


@pytest.mark.parametrize("begins", [False, True], ids=["at once", "before content"])
@pytest.mark.parametrize("kind", KINDS)
@in_virtual_time
async def test_a_failure_before_the_first_content_is_treated_by_its_kind(
    kind: FailureKind, begins: bool
) -> None:
    """The same target is asked again, or the next one, or the call ends; the caller sees none of it."""
    stage = Stage(Chat(max_retries=2, ejection_failures=100))
    one = ScriptedProvider("one", before_content(kind) if begins else fails(kind))
    two = ScriptedProvider("two", says("Hello"))
    treatment = TREATMENTS[kind]
    if treatment.fall_back:
        answer = await stage.answer(*stage.targets(one, two))
        assert (answer.started.provider, answer.text) == ("two", "Hello")
        assert [report.reason for report in answer.finished.attempts[:-1]] == [EXPECTED[kind][0]] * len(
            one.asks
        )
    else:
        with pytest.raises(CallError) as caught:
            await stage.answer(*stage.targets(one, two))
        assert caught.value.reason == EXPECTED[kind][0]
        assert two.asks == []
    assert len(one.asks) == (3 if treatment.retry else 1)
    assert one.open == two.open == 0


@pytest.mark.parametrize("kind", KINDS)
@in_virtual_time
async def test_any_failure_after_the_first_content_ends_the_call(kind: FailureKind) -> None:
    """What was passed on cannot be taken back, and nobody is asked to go on from there."""
    stage = Stage()
    one = ScriptedProvider("one", ([TextPiece(0, "Hel")], *fails(kind)))
    two = ScriptedProvider("two", says("Hello"))
    with pytest.raises(UpstreamInterrupted) as caught:
        await stage.answer(*stage.targets(one, two))
    assert CODES[Reason(caught.value.reason)].name == "DATA_LOSS"
    assert caught.value.metadata["attempts"] == f"one/m {EXPECTED[kind][0]}"
    assert (len(one.asks), two.asks) == (1, [])


@pytest.mark.parametrize("kind", KINDS)
@in_virtual_time
async def test_a_held_answer_may_fail_in_the_middle_and_nobody_notices(kind: FailureKind) -> None:
    """Nothing was passed on, so a failure in the middle is like one at the beginning."""
    stage = Stage(Chat(max_retries=1, ejection_failures=100))
    one = ScriptedProvider("one", ([TextPiece(0, "Hel")], *fails(kind)))
    two = ScriptedProvider("two", says("Good", "bye"))
    targets = stage.targets(one, two)
    if TREATMENTS[kind].fall_back:
        answer = await stage.answer(*targets, hold=True)
        assert (answer.text, len(answer.portions)) == ("Goodbye", 1)
    else:
        with pytest.raises(CallError) as caught:
            await stage.answer(*targets, hold=True)
        assert caught.value.reason == EXPECTED[kind][0]


@in_virtual_time
async def test_a_provider_that_forbids_to_come_back_is_not_asked_again() -> None:
    """The next target is."""
    stage = Stage()
    one = ScriptedProvider("one", (Failure(FailureKind.UNAVAILABLE, "it failed", DO_NOT_RETRY),))
    assert (await stage.answer(*stage.targets(one, ScriptedProvider("two", says("yes"))))).text == "yes"
    assert len(one.asks) == 1


@pytest.mark.parametrize("kind", KINDS)
@in_virtual_time
async def test_only_failures_to_blame_a_target_for_eject_it(kind: FailureKind) -> None:
    """What is wrong with a request does not eject the target that says so."""
    stage = Stage(Chat(ejection_failures=1, max_retries=0))
    [target] = stage.targets(ScriptedProvider("one", fails(kind)))
    with pytest.raises(CallError):
        await stage.answer(target)
    assert (target.breaker.standing().state is State.EJECTED) == TREATMENTS[kind].blame


@pytest.mark.parametrize("kind", KINDS)
@in_virtual_time
async def test_a_refusal_of_the_request_shows_that_a_target_is_back(kind: FailureKind) -> None:
    """A probe that is answered with an error about the request has found out what it was sent for."""
    stage = Stage(Chat(ejection_failures=1, max_retries=0, ejection_seconds=0.001))
    provider = ScriptedProvider("one", fails(FailureKind.UNAVAILABLE), (1.0, *fails(kind)))
    [target] = stage.targets(provider)
    for _ in range(2):
        with pytest.raises(CallError):
            await stage.answer(target)
    about_request = {
        FailureKind.REJECTED,
        FailureKind.NOT_SUPPORTED,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTERED,
    }
    assert (target.breaker.standing().state is State.HEALTHY) == (kind in about_request)


@in_virtual_time
async def test_no_call_has_more_attempts_than_allowed() -> None:
    """However many targets there are and however often each may be asked again."""
    stage = Stage(Chat(max_attempts=4, max_retries=2, ejection_failures=100))
    providers = [ScriptedProvider(name, fails(FailureKind.UNAVAILABLE)) for name in ("one", "two", "three")]
    with pytest.raises(CallError):
        await stage.answer(*stage.targets(*providers))
    assert [len(provider.asks) for provider in providers] == [3, 1, 0]


ACTS = st.lists(
    st.builds(
        lambda kind, wait, begun: ([TextPiece(0, "Hel")], *fails(kind, wait)) if begun else fails(kind, wait),
        st.sampled_from(KINDS),
        st.sampled_from([None, 0.0, 3.0, 1000.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(one=ACTS, two=ACTS, hold=st.booleans(), first=st.booleans(), failing=st.sampled_from([None, *KINDS]))
def test_nothing_ever_leads_to_a_paid_target_that_is_not_enabled(
    one: list[Act], two: list[Act], hold: bool, first: bool, failing: FailureKind | None
) -> None:
    """Whatever the local targets do, and whether or not they say what they are."""

    @in_virtual_time
    async def check() -> None:
        stage = Stage(Chat(ejection_failures=1), paid_enabled=False)
        paid = ScriptedProvider("paid", says("no"), paid=True)
        locals_ = [ScriptedProvider("one", *one), ScriptedProvider("two", *two)]
        if failing is not None:
            locals_[0].known = Failure(failing, "it failed")
        targets = stage.targets(paid, *locals_) if first else stage.targets(*locals_, paid)
        for _ in range(3):
            with pytest.raises(CallError):
                await stage.answer(*targets, hold=hold)
        assert paid.asks == []
        assert ("reserved", "paid/m") not in stage.money.log

    check()
