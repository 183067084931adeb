from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chat.providers.errors import (
    MESSAGES,
    ErrorResponse,
    http_failure,
    plain_code,
    retry_after,
    seconds_of,
)
from services.chat.providers.failure import TREATMENTS, Failure, FailureKind, Told

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
DATE = "Fri, 20 Nov 2026 12:01:30 GMT"
PAST = "Fri, 20 Nov 2026 11:00:00 GMT"
WAIT = {"retry-after": "2"}

K = FailureKind


@pytest.mark.parametrize(
    ("status", "headers", "kind", "then", "wait"),
    [
        (400, {}, K.REJECTED, "end", None),
        (401, {}, K.AUTHENTICATION, "next", None),
        (402, {}, K.QUOTA, "next", None),
        (403, {}, K.AUTHENTICATION, "next", None),
        (404, {}, K.MODEL_MISSING, "next", None),
        (405, {}, K.REJECTED, "end", None),
        (408, {}, K.UNAVAILABLE, "again", None),
        (409, {}, K.UNAVAILABLE, "again", None),
        (413, {}, K.REJECTED, "end", None),
        (422, {}, K.REJECTED, "end", None),
        (429, {}, K.RATE_LIMITED, "again", None),
        (429, WAIT, K.RATE_LIMITED, "again", 2.0),
        (429, {"retry-after": "1.25"}, K.RATE_LIMITED, "again", 1.25),
        (429, {"retry-after-ms": "250", "retry-after": "9"}, K.RATE_LIMITED, "again", 0.25),
        (429, {"retry-after": PAST}, K.RATE_LIMITED, "again", 0.0),
        (429, {"retry-after": "soon"}, K.RATE_LIMITED, "again", None),
        (429, {"x-should-retry": "false", **WAIT}, K.RATE_LIMITED, "next", 2.0),
        (400, {"x-should-retry": "true"}, K.REJECTED, "end", None),
        (498, {}, K.UNAVAILABLE, "again", None),
        (499, {}, K.REJECTED, "end", None),
        (500, {}, K.UNAVAILABLE, "again", None),
        (500, {"x-should-retry": "FALSE"}, K.UNAVAILABLE, "next", None),
        (501, {}, K.UNAVAILABLE, "again", None),
        (502, {}, K.UNAVAILABLE, "again", None),
        (503, WAIT, K.UNAVAILABLE, "again", 2.0),
        (504, {}, K.UNAVAILABLE, "again", None),
        (529, {}, K.UNAVAILABLE, "again", None),
        (599, {}, K.UNAVAILABLE, "again", None),
        (200, {}, K.UNAVAILABLE, "again", None),
    ],
)
def test_responses_without_a_body_mean_what_the_table_says(
    status: int, headers: Mapping[str, str], kind: FailureKind, then: str, wait: float | None
) -> None:
    """Status and headers alone: ask again, ask the next target, or end; a retry cannot be demanded."""
    failure = http_failure(ErrorResponse(status, headers, b""))
    assert failure.kind is kind
    assert failure.may_retry == (then == "again")
    assert failure.may_fall_back == (then != "end")
    assert (failure.told.status, failure.told.retry_after_seconds) == (status, wait)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "1e2"}, 100.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "0.5"}, 0.0005),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after-ms": "-1", "retry-after": "3"}, 3.0),
        ({"retry-after-ms": "inf", "retry-after": DATE}, 90.0),
        ({"retry-after": DATE}, 90.0),
        ({"retry-after": "Fri, 20 Nov 2026 14:01:30 +0200"}, 90.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30"}, 90.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 -0000"}, 90.0),
        ({"retry-after": "Friday, 20-Nov-26 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Fri Nov 20 12:01:30 2026"}, 90.0),
        ({"retry-after": PAST}, 0.0),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "7s"}, None),
        ({"retry-after": "7, 8"}, None),
        ({"retry-after": "2026-11-20T12:01:30Z"}, None),
        ({"retry-after": "Fri, 99 Nov 2026 12:01:30 GMT"}, None),
        ({"retry-after": "1 Feb 99999999999999999999 00:00:00 GMT"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 +9999"}, None),
    ],
)
def test_waiting_times_are_read_in_every_form(headers: Mapping[str, str], seconds: float | None) -> None:
    """Milliseconds, seconds, and the three dates of HTTP; nonsense is as if nothing had been said."""
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


DATES = st.lists(
    st.sampled_from(
        [*DATE.replace(":", " : ").split(), "12:01:30", "GMT", "-2359", "9" * 20, "0", "", "1.2.3", "٣"]
    ),
    max_size=9,
).map(" ".join)


@given(st.one_of(st.text(max_size=40), DATES))
def test_no_waiting_time_is_an_error(text: str) -> None:
    """Whatever a header says, it is a finite number of seconds or nothing."""
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: text}, NOW)
        assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(3, 3.0), (0.5, 0.5), ("2", 2.0), (None, None), ({}, None), ([], None), (-1, None), (10**400, None)],
)
def test_seconds_in_a_body_may_be_anything(value: Any, seconds: float | None) -> None:
    """Numbers and texts are read, and everything else is nothing."""
    assert seconds_of(value) == seconds


def test_headers_go_before_what_the_body_says() -> None:
    """The body is asked where no header tells."""
    plain = ErrorResponse(429, {}, b"")
    assert http_failure(plain, retry_after_seconds=5.0).told.retry_after_seconds == 5.0
    told = ErrorResponse(429, {"retry-after": "0"}, b"")
    assert http_failure(told, retry_after_seconds=5.0).told.retry_after_seconds == 0.0


def test_what_the_dialect_knows_goes_before_the_status() -> None:
    """Its kind and its words, and the code if it is a plain one."""
    response = ErrorResponse(400, {}, b"")
    failure = http_failure(response, kind=K.CONTEXT_LENGTH, code="too_long", message="ours")
    assert (failure.kind, str(failure), failure.told) == (K.CONTEXT_LENGTH, "ours", Told(400, "too_long"))
    assert str(http_failure(response)) == MESSAGES[K.REJECTED]


@pytest.mark.parametrize(
    ("code", "plain"),
    [
        ("rate_limit_error", "rate_limit_error"),
        ("a.b-C_9", "a.b-C_9"),
        (1113, "1113"),
        (True, ""),
        (None, ""),
        ("", ""),
        ("two words", ""),
        ("sk-1234\n", ""),
        ("x" * 65, ""),
        ("ä", ""),
        ({"code": "x"}, ""),
        (1.5, ""),
    ],
)
def test_a_code_is_a_plain_word_or_nothing(code: object, plain: str) -> None:
    """It ends up in logs and messages, so nothing else may."""
    assert plain_code(code) == plain


def test_every_kind_of_failure_has_a_treatment_and_a_message() -> None:
    """No kind is forgotten; and what is retried may also fall back."""
    assert set(TREATMENTS) == set(MESSAGES) == set(FailureKind)
    assert all(treatment.fall_back for treatment in TREATMENTS.values() if treatment.retry)


@pytest.mark.parametrize("kind", FailureKind)
@pytest.mark.parametrize("should_retry", [None, True, False])
def test_a_provider_can_forbid_a_retry_and_not_demand_one(
    kind: FailureKind, should_retry: bool | None
) -> None:
    """Its word changes nothing about falling back or blame."""
    failure = Failure(kind, "x", Told(should_retry=should_retry))
    treatment = TREATMENTS[kind]
    assert failure.may_retry == (treatment.retry and should_retry is not False)
    assert (failure.may_fall_back, failure.blames_target) == (treatment.fall_back, treatment.blame)
