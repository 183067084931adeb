"""What a failed attempt means: whether somebody else is asked, and whether the replica is to blame.

Everything follows from one table. A reason that it does not have, of a newer version, is the caller's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import DOMAIN, Reason
from services.chassis.status import DETAILS_KEY

OTHER: Final = "OTHER"
"""What metrics call a reason that this version does not know."""


class Next(Enum):
    """Who may be asked next."""

    NOBODY = "nobody"
    """It would be the same everywhere: what was said is the answer."""
    REPLICA = "another replica, or one of another backend"
    BACKEND = "another backend; the replicas of this one would say the same"


class Blame(Enum):
    """Whether a failure counts against the replica."""

    NEVER = "never"
    """A fault of the caller's, of a provider's, or none at all: the replica is as busy as it may be."""
    PROVEN = "if another replica does better"
    """The replica or the request is bad: one that fails on two replicas is a bad request."""
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a failure.

    Attributes:
        next: Who may be asked next.
        blame: Whether it counts against the replica.
        again: The same replica may be asked again after a pause, where there is no other.
        once: Only one more attempt is made for it.
        untouched: The request was certainly not handled, so that any method may be made again.
        rank: How much the explanation tells; of several failures the most telling is the caller's answer.
    """

    next: Next
    blame: Blame = Blame.NEVER
    again: bool = False
    once: bool = False
    untouched: bool = False
    rank: int = 2


FINAL: Final = Verdict(Next.NOBODY)
ELSEWHERE: Final = Verdict(Next.BACKEND)
ABSENT: Final = Verdict(Next.BACKEND, untouched=True, rank=1)
LOST: Final = Verdict(Next.REPLICA, Blame.ALWAYS, again=True, rank=0)
"""The connection was lost, or the server that stops dropped the call."""
UNCONNECTED: Final = replace(LOST, untouched=True)
"""There was no connection to begin with."""
TOO_SLOW: Final = Verdict(Next.REPLICA, Blame.ALWAYS, rank=0)
"""The attempt's own time is over, the caller's is not."""
BROKEN: Final = Verdict(Next.REPLICA, Blame.PROVEN, once=True)

VERDICTS: Final[Mapping[Reason, Verdict]] = {
    Reason.INVALID_REQUEST: FINAL,
    Reason.INPUT_TOO_LONG: FINAL,
    Reason.WRONG_CAPABILITY: FINAL,
    Reason.MESSAGE_TOO_LARGE: FINAL,
    Reason.MODEL_NOT_FOUND: ABSENT,
    Reason.MODEL_FAILED: Verdict(Next.REPLICA),
    Reason.NOT_READY: Verdict(Next.REPLICA, again=True, untouched=True),
    Reason.NO_BACKEND: Verdict(Next.BACKEND, rank=1),
    Reason.QUEUE_FULL: Verdict(Next.REPLICA, untouched=True),
    Reason.DEADLINE: FINAL,
    Reason.INFERENCE_FAILED: BROKEN,
    Reason.UPSTREAM_REJECTED: FINAL,
    Reason.NOT_SUPPORTED: FINAL,
    Reason.UPSTREAM_UNAVAILABLE: ELSEWHERE,
    Reason.UPSTREAM_INTERRUPTED: ELSEWHERE,
    Reason.UPSTREAM_RATE_LIMITED: ELSEWHERE,
    Reason.UPSTREAM_QUOTA: ELSEWHERE,
    Reason.UPSTREAM_AUTH: ELSEWHERE,
    Reason.UPSTREAM_MODEL_MISSING: ELSEWHERE,
    Reason.CONTENT_REJECTED: FINAL,
    Reason.PAID_DISABLED: ELSEWHERE,
    Reason.BUDGET_EXHAUSTED: ELSEWHERE,
    Reason.INVALID_OUTPUT: FINAL,
    Reason.UNAUTHENTICATED: FINAL,
    Reason.KEY_NOT_ALLOWED: FINAL,
    Reason.RATE_LIMITED: FINAL,
    Reason.CACHE_UNAVAILABLE: FINAL,
    Reason.CONFIG_INVALID: FINAL,
    Reason.NOT_SERVED: ABSENT,
    Reason.INTERNAL: BROKEN,
}
"""What services of ours say."""

BARE: Final[Mapping[grpc.StatusCode, tuple[Reason, Verdict]]] = {
    grpc.StatusCode.UNAVAILABLE: (Reason.NO_BACKEND, LOST),
    grpc.StatusCode.CANCELLED: (Reason.NO_BACKEND, LOST),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Reason.DEADLINE, FINAL),
    grpc.StatusCode.UNIMPLEMENTED: (Reason.NOT_SERVED, ABSENT),
    grpc.StatusCode.INTERNAL: (Reason.INTERNAL, BROKEN),
    grpc.StatusCode.UNKNOWN: (Reason.INTERNAL, BROKEN),
}
"""What gRPC says on one of the two sides, or a server of somebody else's. All other codes are final."""


def judge(error: grpc.aio.AioRpcError) -> tuple[str, Verdict]:
    """Return the reason of a failure, for metrics, and what follows from it."""
    told = told_reason(error)
    if told is None:
        reason, verdict = BARE.get(error.code(), (OTHER, FINAL))
        return str(reason), verdict
    try:
        reason = Reason(told)
    except ValueError:
        return OTHER, FINAL
    return str(reason), VERDICTS.get(reason, FINAL)


def told_reason(error: grpc.aio.AioRpcError) -> str | None:
    """Return the reason in the status details; None if there are none, "" if they hold none of ours."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return _reason(value)
    return None


def _reason(details: bytes) -> str:
    info = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(details).details:
            if detail.Unpack(info) and info.domain == DOMAIN:
                return str(info.reason)
    except DecodeError:
        return ""
    return ""
