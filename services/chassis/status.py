"""From an error to what travels: a code, a message and `google.rpc` details.

The details follow https://google.aip.dev/193: `ErrorInfo` always, `BadRequest` for fields, `RetryInfo`
where waiting helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import CODES, DOMAIN, Explained, Reason

DETAILS_KEY: Final = "grpc-status-details-bin"

PUSHBACK: Final = ("grpc-retry-pushback-ms", "-1")
"""Trailing metadata that keeps gRPC from making a call again:
https://github.com/grpc/proposal/blob/master/A6-client-retries.md, "Server pushback"."""
GIVEN_UP: Final = frozenset({Reason.UPSTREAM_UNAVAILABLE})
"""Reasons of services that have tried again themselves, with a code that would be tried again by others."""
INTERNAL_MESSAGE: Final = "internal error; the service's log has it under this id: {id}"
NANOSECONDS: Final = 1_000_000_000

# A status travels in HTTP/2 headers, of which gRPC accepts 8 KiB. A call with a thousand empty inputs
# must still be told that they are empty. Bytes, because a Chinese character takes three of them.
MAX_VIOLATIONS: Final = 20
MAX_VIOLATIONS_BYTES: Final = 2_000
MAX_MESSAGE_BYTES: Final = 1_000
MAX_TEXT_BYTES: Final = 500


@dataclass(frozen=True, slots=True)
class Status:
    """What a failed call ends with."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def explained_status(error: Explained) -> Status:
    """Return the status of an error that callers are meant to see."""
    reason = Reason(error.reason)
    metadata = {key: _shortened(value, MAX_TEXT_BYTES) for key, value in error.metadata.items()}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        details.append(_bad_request(error.violations))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * NANOSECONDS))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = _status(CODES[reason], _shortened(str(error), MAX_MESSAGE_BYTES), details)
    if reason in GIVEN_UP:
        return replace(status, trailing_metadata=(*status.trailing_metadata, PUSHBACK))
    return status


def internal_status(error_id: str) -> Status:
    """Return the status of an error that callers must not see; `error_id` finds it in the log."""
    info = error_details_pb2.ErrorInfo(reason=Reason.INTERNAL, domain=DOMAIN, metadata={"errorId": error_id})
    return _status(CODES[Reason.INTERNAL], INTERNAL_MESSAGE.format(id=error_id), [info])


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> Status:
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    number = int(code.value[0])
    encoded = status_pb2.Status(code=number, message=message, details=packed).SerializeToString()
    return Status(code, message, ((DETAILS_KEY, encoded),))


def _bad_request(violations: Sequence[tuple[str, str]]) -> error_details_pb2.BadRequest:
    """Return the first violations, as many as may travel, and one at least."""
    told = error_details_pb2.BadRequest()
    for field, problem in violations[:MAX_VIOLATIONS]:
        told.field_violations.add(
            field=_shortened(field, MAX_TEXT_BYTES), description=_shortened(problem, MAX_TEXT_BYTES)
        )
        if told.ByteSize() > MAX_VIOLATIONS_BYTES:
            del told.field_violations[max(1, len(told.field_violations) - 1) :]
            break
    return told


def _shortened(text: str, limit: int) -> str:
    """Return `text`, or as much of its beginning as `limit` bytes of UTF-8 hold, and an ellipsis."""
    encoded = text.encode("utf-8", errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    kept = limit - len("…".encode())
    return encoded[:kept].decode(errors="ignore") + "…"
