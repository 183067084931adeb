"""What follows from each way to fail."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from services.chassis.errors import CODES, CallError, Reason
from services.chassis.status import DETAILS_KEY, explained_status
from services.router.capabilities import SERVICES, is_safe
from services.router.routing.outcome import BARE, FINAL, OTHER, VERDICTS, Blame, Next, judge


def failure(reason: Reason) -> AioRpcError:
    """Return how a service of ours fails for a reason, as gRPC tells it."""
    error = CallError("why")
    error.reason = reason
    status = explained_status(error)
    return AioRpcError(status.code, Metadata(), Metadata(*status.trailing_metadata), status.message)


def bare(code: grpc.StatusCode) -> AioRpcError:
    """Return a failure of which only the code is known."""
    return AioRpcError(code, Metadata(), Metadata(), "text of the other side")


def test_every_reason_has_a_verdict() -> None:
    """A reason that is added has to be given one; until then it is final."""
    assert set(VERDICTS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_in_the_details_decides_and_the_code_does_not(reason: Reason) -> None:
    """UNAVAILABLE with a reason is what the reason says."""
    assert judge(failure(reason)) == (reason, VERDICTS[reason])


def test_who_may_be_asked_next_is_what_the_conventions_say() -> None:
    """The table of the error conventions, column `failover`."""
    assert {reason for reason, one in VERDICTS.items() if one.next is Next.REPLICA} == {
        Reason.NOT_READY,
        Reason.QUEUE_FULL,
        Reason.MODEL_FAILED,
        Reason.INFERENCE_FAILED,
        Reason.INTERNAL,
    }
    assert {reason for reason, one in VERDICTS.items() if one.next is Next.BACKEND} == {
        Reason.MODEL_NOT_FOUND,
        Reason.NO_BACKEND,
        Reason.NOT_SERVED,
        Reason.UPSTREAM_UNAVAILABLE,
        Reason.UPSTREAM_INTERRUPTED,
        Reason.UPSTREAM_RATE_LIMITED,
        Reason.UPSTREAM_QUOTA,
        Reason.UPSTREAM_AUTH,
        Reason.UPSTREAM_MODEL_MISSING,
        Reason.PAID_DISABLED,
        Reason.BUDGET_EXHAUSTED,
    }
    assert {reason for reason, one in VERDICTS.items() if one.once} == {
        Reason.INFERENCE_FAILED,
        Reason.INTERNAL,
    }


def test_faults_of_callers_and_of_providers_and_being_busy_are_not_blamed_on_a_replica() -> None:
    """Whoever sends wrong calls must not be able to take replicas away from everybody else."""
    blamed = {reason for reason, one in VERDICTS.items() if one.blame is not Blame.NEVER}
    assert blamed == {Reason.INFERENCE_FAILED, Reason.INTERNAL}
    assert all(VERDICTS[reason].blame is not Blame.ALWAYS for reason in blamed), (
        "a call that breaks every replica would eject them"
    )


def test_what_was_certainly_not_handled_is_known() -> None:
    """Only then a method that changes something is made again."""
    assert {reason for reason, one in VERDICTS.items() if one.untouched} == {
        Reason.NOT_READY,
        Reason.QUEUE_FULL,
        Reason.MODEL_NOT_FOUND,
        Reason.NOT_SERVED,
    }
    assert not any(verdict.untouched for _, verdict in BARE.values() if verdict.blame is Blame.ALWAYS)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_code_without_details_is_judged_by_itself(code: grpc.StatusCode) -> None:
    """Lost connections and dropped calls move on; what is not in the table is the caller's answer."""
    reason, verdict = judge(bare(code))
    assert (reason, verdict) == BARE.get(code, (OTHER, FINAL))
    moves = code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert (verdict.next is Next.REPLICA and verdict.blame is Blame.ALWAYS) is moves


def test_reasons_of_bare_codes_have_those_codes() -> None:
    """Metrics and callers are told the same; a dropped call is told as a lost one."""
    for code, (reason, _) in BARE.items():
        assert CODES[reason] is code or code in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}


@pytest.mark.parametrize("details", [b"", b"\xff\xff", b"NOT_READY"])
def test_details_that_say_nothing_of_ours_are_final(details: bytes) -> None:
    """A newer version knows why its reasons exist; nothing is guessed here."""
    error = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata((DETAILS_KEY, details)), "")
    assert judge(error) == (OTHER, FINAL)


def test_only_chat_changes_anything() -> None:
    """So only its methods need to know whether a call was handled."""
    methods = {
        f"/{service.full_name}/{method.name}" for service in SERVICES.values() for method in service.methods
    }
    assert {method.rpartition("/")[2] for method in methods if not is_safe(method)} == {"Chat", "Complete"}
