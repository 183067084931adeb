"""How the router explains the status of a backend to a caller."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import Metadata

from services.chassis.errors import CODES, Explained, Relayed
from services.chassis.status import DETAILS_KEY
from services.router.routing.explain import explain

TEXT = "text of the other side"


def failure(
    code: grpc.StatusCode, *trailing: tuple[str, str | bytes], text: str | None = TEXT
) -> grpc.aio.AioRpcError:
    """Return how gRPC reports that a call failed."""
    return grpc.aio.AioRpcError(code, Metadata(), Metadata(*trailing), text)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_status_with_details_is_quoted_whatever_its_code(code: grpc.StatusCode) -> None:
    """A service of ours has explained itself; only what is meant for callers is relayed."""
    trailing = ((DETAILS_KEY, b"details"), ("inglenook-served-by", "embed@a:1"), ("x-internal", "secret"))
    told = explain(failure(code, *trailing), "embed")
    assert isinstance(told, Relayed)
    assert (told.code, told.message) == (code, TEXT)
    assert told.trailing_metadata == trailing[:2]


def test_a_status_with_details_and_without_a_message_is_quoted() -> None:
    """The details alone say enough."""
    told = explain(failure(grpc.StatusCode.NOT_FOUND, (DETAILS_KEY, b"details"), text=None), "embed")
    assert isinstance(told, Relayed)
    assert told.message == ""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND"),
        (grpc.StatusCode.CANCELLED, "NO_BACKEND"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE"),
        (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
    ],
)
def test_a_status_that_grpc_made_up_gets_a_reason_of_ours(code: grpc.StatusCode, reason: str) -> None:
    """Nothing but the connection is known, so the other side's text is not repeated."""
    told = explain(failure(code, ("inglenook-served-by", "embed@a:1")), "rerank")
    assert isinstance(told, Explained)
    assert told.reason == reason
    assert TEXT not in str(told)
    assert told.reason != "NO_BACKEND" or told.metadata == {"capability": "rerank"}


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS]
)
def test_any_other_status_without_details_is_a_bug_to_look_into(code: grpc.StatusCode) -> None:
    """It is not given a reason that might be wrong: the chassis logs it under an id."""
    error = failure(code)
    assert explain(error, "embed") is error
    assert not isinstance(error, Explained)


def test_reasons_of_the_router_have_codes() -> None:
    """What `explain` returns can be sent."""
    for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
        told = explain(failure(code), "embed")
        assert isinstance(told, Explained)
        assert CODES[told.reason] is code  # type: ignore[index]  # reasons are strings
