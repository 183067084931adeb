"""What a failed attempt means to the caller."""

from __future__ import annotations

from typing import Any, Final

import grpc

from services.chassis.errors import CallError, DeadlinePassed, NotServed, Relayed
from services.chassis.pipeline.translate import SERVED_BY_KEY
from services.chassis.status import DETAILS_KEY
from services.config import Capability
from services.router.errors import NoBackend
from services.router.routing.call import Metadata

RELAYED_KEYS: Final = frozenset({DETAILS_KEY, SERVED_BY_KEY})


def explain(error: grpc.aio.AioRpcError, capability: Capability) -> Exception:
    """Return what to tell the caller about a call that a backend failed.

    A service of ours has said why, in the status details, and is quoted. A status without details was
    made up by gRPC on one of the two sides: nothing but the connection is known.
    """
    trailing = relayed(error.trailing_metadata())
    if any(key == DETAILS_KEY for key, _ in trailing):
        return Relayed(error.code(), error.details() or "", trailing)
    explanations: dict[grpc.StatusCode, CallError] = {
        grpc.StatusCode.UNAVAILABLE: NoBackend(
            capability, "no connection, or it was lost; safe calls were retried"
        ),
        grpc.StatusCode.CANCELLED: NoBackend(capability, "the backend dropped the call"),
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlinePassed(),
        grpc.StatusCode.UNIMPLEMENTED: NotServed(),
    }
    return explanations.get(error.code()) or error


def relayed(metadata: Any) -> Metadata:
    """Return what callers may see of a backend's trailing metadata."""
    return tuple((key, value) for key, value in metadata or () if key in RELAYED_KEYS)
