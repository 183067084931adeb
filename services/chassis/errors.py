"""The reasons a call can fail for, and the errors that carry them.

A reason is part of the contract: it travels in `google.rpc.ErrorInfo`, programs branch on it, and it is
never renamed. It alone decides the gRPC status code (`CODES`), so that no caller of this module can pair
a reason with the wrong code.

Libraries that know nothing of gRPC take part by shape, not by inheritance: any exception with the
attributes of `Explained` becomes a status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

import grpc

DOMAIN: Final = "inglenook"


class Reason(StrEnum):
    """Why a call failed. docs/errors.md explains each to callers."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INPUT_TOO_LONG = "INPUT_TOO_LONG"
    WRONG_CAPABILITY = "WRONG_CAPABILITY"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    MODEL_FAILED = "MODEL_FAILED"
    NOT_READY = "NOT_READY"
    NO_BACKEND = "NO_BACKEND"
    QUEUE_FULL = "QUEUE_FULL"
    DEADLINE = "DEADLINE"
    INFERENCE_FAILED = "INFERENCE_FAILED"
    UPSTREAM_REJECTED = "UPSTREAM_REJECTED"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
    UPSTREAM_INTERRUPTED = "UPSTREAM_INTERRUPTED"
    UPSTREAM_RATE_LIMITED = "UPSTREAM_RATE_LIMITED"
    UPSTREAM_QUOTA = "UPSTREAM_QUOTA"
    UPSTREAM_AUTH = "UPSTREAM_AUTH"
    UPSTREAM_MODEL_MISSING = "UPSTREAM_MODEL_MISSING"
    CONTENT_REJECTED = "CONTENT_REJECTED"
    PAID_DISABLED = "PAID_DISABLED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    INVALID_OUTPUT = "INVALID_OUTPUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    KEY_NOT_ALLOWED = "KEY_NOT_ALLOWED"
    RATE_LIMITED = "RATE_LIMITED"
    CACHE_UNAVAILABLE = "CACHE_UNAVAILABLE"
    CONFIG_INVALID = "CONFIG_INVALID"
    NOT_SERVED = "NOT_SERVED"
    INTERNAL = "INTERNAL"


CODES: Final[Mapping[Reason, grpc.StatusCode]] = {
    Reason.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.INPUT_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_CAPABILITY: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MESSAGE_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.MODEL_FAILED: grpc.StatusCode.UNAVAILABLE,
    Reason.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    Reason.NO_BACKEND: grpc.StatusCode.UNAVAILABLE,
    Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.INFERENCE_FAILED: grpc.StatusCode.INTERNAL,
    Reason.UPSTREAM_REJECTED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NOT_SUPPORTED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UPSTREAM_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.UPSTREAM_INTERRUPTED: grpc.StatusCode.DATA_LOSS,
    Reason.UPSTREAM_RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UPSTREAM_QUOTA: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UPSTREAM_AUTH: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.UPSTREAM_MODEL_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CONTENT_REJECTED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.PAID_DISABLED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.BUDGET_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.INVALID_OUTPUT: grpc.StatusCode.INTERNAL,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.KEY_NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.CACHE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.CONFIG_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_SERVED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}


@runtime_checkable
class Explained(Protocol):
    """The shape of an exception that callers are meant to see.

    `str()` of it is the status message: English, for developers, without user text or secrets.
    """

    reason: str
    """A value of `Reason`."""
    metadata: Mapping[str, str]
    """Facts for programs; lowerCamelCase keys that name their unit, as in `maxInputTokens`."""
    violations: Sequence[tuple[str, str]]
    """Fields of the request that are wrong: path, as in `inputs[3]`, and what is wrong with it."""
    retry_after_seconds: float | None
    """When the same call may succeed; None when waiting does not help."""


class CallError(Exception):
    """A call failed for a reason that its caller should know. Satisfies `Explained`."""

    reason: str = Reason.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations: Sequence[tuple[str, str]] = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class Relayed(Exception):
    """Another service has already said why the call failed; its status is passed on unchanged.

    Attributes:
        code: The status code.
        message: The status message.
        trailing_metadata: The other service's trailing metadata: status details, and who answered.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, trailing_metadata: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.trailing_metadata = trailing_metadata


class InvalidRequest(CallError):
    """A field of the request is missing, empty, out of range or malformed."""

    reason = Reason.INVALID_REQUEST

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        told = "; ".join(f"{field} {problem}" if field else problem for field, problem in violations)
        super().__init__(told, violations=violations)


class MessageTooLarge(CallError):
    """The request message has more bytes than this service takes."""

    reason = Reason.MESSAGE_TOO_LARGE

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the request has {size} bytes, more than the {limit} allowed; send fewer inputs per call",
            metadata={"maxMessageBytes": str(limit), "messageBytes": str(size)},
        )


class TooManyCalls(CallError):
    """The service already handles as many calls as it may."""

    reason = Reason.QUEUE_FULL

    def __init__(self, limit: int, retry_after_seconds: float) -> None:
        super().__init__(
            f"the service already handles {limit} calls, as many as it may; try again shortly",
            metadata={"maxConcurrentCalls": str(limit)},
            retry_after_seconds=retry_after_seconds,
        )


class Draining(CallError):
    """The service is about to stop and takes no more calls."""

    reason = Reason.NOT_READY

    def __init__(self) -> None:
        super().__init__("the service is stopping; another replica will answer", retry_after_seconds=0.1)


class DeadlinePassed(CallError):
    """The caller's deadline passed before there was an answer."""

    reason = Reason.DEADLINE

    def __init__(self) -> None:
        super().__init__("the call's deadline passed before the answer was ready")


class NotServed(CallError):
    """The method does not exist here."""

    reason = Reason.NOT_SERVED

    def __init__(self) -> None:
        super().__init__("this method is not served here; the reflection service lists those that are")
