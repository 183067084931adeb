"""From an error to what travels: a code, a message and `google.rpc` details.

The details follow https://google.aip.dev/193: `ErrorInfo` always, `BadRequest` for fields, `RetryInfo`
where waiting helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import CODES, DOMAIN, Explained, Reason

DETAILS_KEY: Final = "grpc-status-details-bin"
INTERNAL_MESSAGE: Final = "internal error; the service's log has it under this id: {id}"
NANOSECONDS: Final = 1_000_000_000

# A status travels in HTTP/2 headers, of which gRPC accepts 8 KiB. A call with a thousand empty inputs
# must still be told that they are empty.
MAX_VIOLATIONS: Final = 20
MAX_MESSAGE_CHARACTERS: Final = 1_000
MAX_METADATA_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Status:
    """What a failed call ends with."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def explained_status(error: Explained) -> Status:
    """Return the status of an error that callers are meant to see."""
    reason = Reason(error.reason)
    metadata = {key: _shortened(value, MAX_METADATA_CHARACTERS) for key, value in error.metadata.items()}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
            for field, problem in error.violations[:MAX_VIOLATIONS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * NANOSECONDS))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(CODES[reason], _shortened(str(error), MAX_MESSAGE_CHARACTERS), details)


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


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
