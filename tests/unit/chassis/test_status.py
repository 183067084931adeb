from __future__ import annotations

from typing import Any

import grpc
import pytest

from services.chassis import errors
from services.chassis.errors import CODES, CallError, Explained, InvalidRequest, Reason
from services.chassis.status import MAX_VIOLATIONS, Status, explained_status, internal_status
from services.chassis.testing import FailedCall, read_failure

HEADERS_BYTES = 8192


class _Ended:
    """An error as a client gets it."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def code(self) -> grpc.StatusCode:
        return self._status.code

    def details(self) -> str:
        return self._status.message

    def trailing_metadata(self) -> Any:
        return self._status.trailing_metadata


def read(status: Status) -> FailedCall:
    """Return what a caller reads from a status."""
    return read_failure(_Ended(status))


def told(error: CallError) -> FailedCall:
    """Return what a caller is told of an error."""
    return read(explained_status(error))


def with_reason(reason: str, message: str = "", **details: Any) -> CallError:
    """Return an error with a reason."""
    kind = type("Failed", (CallError,), {"reason": reason})
    error: CallError = kind(message, **details)
    return error


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_code_and_arrives(reason: Reason) -> None:
    """A reason without a code would end its call with a bug instead."""
    failed = told(with_reason(reason))
    assert failed.code is CODES[reason]
    assert failed.code is not grpc.StatusCode.OK
    assert (failed.reason, failed.domain) == (reason, "inglenook")


def test_reasons_are_named_as_they_travel() -> None:
    """Programs outside of this repository branch on the values."""
    assert {reason.name for reason in Reason} == {reason.value for reason in Reason}


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallError)],
)
def test_every_error_of_the_chassis_has_a_reason_that_exists(kind: type[CallError]) -> None:
    """One base class, and no subclass that the translation would have to guess about."""
    assert kind.reason in CODES


def test_call_error_has_the_shape_of_an_explanation_and_other_errors_have_not() -> None:
    """The shape alone decides whether callers get to see a message."""
    assert isinstance(with_reason(Reason.NOT_READY), Explained)
    assert not isinstance(ValueError("secret"), Explained)
    assert not isinstance(KeyError("secret"), Explained)


def test_details_that_an_error_lacks_are_left_out() -> None:
    """No RetryInfo means that waiting does not help; an empty one would mean: at once."""
    failed = told(with_reason(Reason.MODEL_NOT_FOUND, "no such model"))
    assert (failed.violations, failed.retry_after_seconds, failed.metadata) == ((), None, {})


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.5, 3600.0])
def test_delay_arrives_as_it_was_meant(seconds: float) -> None:
    """Fractions of a second matter here."""
    error = with_reason(Reason.QUEUE_FULL, retry_after_seconds=seconds)
    assert told(error).retry_after_seconds == pytest.approx(seconds)


def test_first_violations_are_told_when_there_are_too_many() -> None:
    """Whoever has a thousand mistakes will recognise them by twenty."""
    error = InvalidRequest([(f"inputs[{index}]", "is empty") for index in range(1000)])
    assert told(error).violations == tuple(
        (f"inputs[{index}]", "is empty") for index in range(MAX_VIOLATIONS)
    )


@pytest.mark.parametrize("letter", ["x", "ü", "空", "🌲", "\ud800"])
def test_status_fits_into_headers_whatever_it_says(letter: str) -> None:
    """Field paths, descriptions, messages and metadata may all be long, in any script at once."""
    error = with_reason(
        Reason.INVALID_REQUEST,
        letter * 100_000,
        metadata={"model": letter * 100_000},
        violations=[(letter * 1000, letter * 1000)] * 1000,
    )
    status = explained_status(error)
    ((_, details),) = status.trailing_metadata
    assert len(details) + len(status.message.encode()) < HEADERS_BYTES
    failed = read(status)
    assert failed.message.endswith("…")
    assert failed.metadata["model"].endswith("…")
    assert failed.violations


def test_short_texts_are_left_alone() -> None:
    """Only what is too long is cut."""
    error = with_reason(Reason.INVALID_REQUEST, "zu kurz für Änderungen", metadata={"a": "ü"})
    failed = told(error)
    assert (failed.message, failed.metadata) == ("zu kurz für Änderungen", {"a": "ü"})


def test_violation_without_a_field_is_told_without_one() -> None:
    """What concerns the whole request has no path."""
    error = InvalidRequest([("", "makes no sense"), ("model", "is missing")])
    assert str(error) == "makes no sense; model is missing"


def test_internal_status_has_the_id_and_nothing_else() -> None:
    """The id is all that a caller may know of a bug."""
    failed = read(internal_status("abc"))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert failed.metadata == {"errorId": "abc"}
    assert "abc" in failed.message
