"""Test kit: a service process inside a test, on free ports, and a reader of the status of failed calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from services.chassis.metrics import new_registry
from services.chassis.process import Application, ProcessSettings, ServiceProcess, Surroundings
from services.chassis.status import DETAILS_KEY
from services.config import Limits, Service, Shutdown, Telemetry

ANY_PORT = "127.0.0.1:0"


def settings(
    *, limits: Limits | None = None, shutdown: Shutdown | None = None, metrics: bool = False
) -> ProcessSettings:
    """Return settings for a process of a test: free ports, no drain, a short grace."""
    return ProcessSettings(
        name="test",
        version="0",
        service=Service(listen=ANY_PORT, metrics_listen=ANY_PORT if metrics else None),
        limits=limits or Limits(),
        shutdown=shutdown or Shutdown(drain_seconds=0.0, grace_seconds=1.0, flush_seconds=0.5),
        telemetry=Telemetry(),
    )


def surroundings(chosen: ProcessSettings | None = None) -> Surroundings:
    """Return what an application is built with, where no process is needed."""
    from services.chassis.tracing import Tracing

    chosen = chosen or settings()
    return Surroundings(chosen, new_registry(chosen.name, chosen.version), Tracing(None))


@asynccontextmanager
async def running(
    build: Callable[[Surroundings], Application], chosen: ProcessSettings | None = None
) -> AsyncIterator[ServiceProcess]:
    """Run a service process in this event loop; it leaves as it would on SIGTERM."""
    process = ServiceProcess(chosen or settings(), build)
    await process.start()
    try:
        yield process
    finally:
        await process.leave()


@dataclass(frozen=True, slots=True)
class FailedCall:
    """What a caller can read from a failed call.

    Attributes:
        code: The status code.
        message: The status message.
        reason: `ErrorInfo.reason`; empty without details.
        domain: `ErrorInfo.domain`.
        metadata: `ErrorInfo.metadata`.
        violations: Field path and description of each `BadRequest` violation.
        retry_after_seconds: `RetryInfo.retry_delay`; None without one.
        trailing: The trailing metadata, without the details.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[tuple[str, str]] = ()
    retry_after_seconds: float | None = None
    trailing: Mapping[str, str] = field(default_factory=dict)


def read_failure(error: Any) -> FailedCall:
    """Return what `error`, a `grpc.RpcError` of a call that ended, says."""
    pairs: list[tuple[str, str | bytes]] = list(error.trailing_metadata() or ())
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key == DETAILS_KEY and isinstance(value, bytes):
            found = _details(status_pb2.Status.FromString(value))
    return FailedCall(
        code=error.code(),
        message=error.details() or "",
        trailing={key: str(value) for key, value in pairs if key != DETAILS_KEY},
        **found,
    )


def _details(status: status_pb2.Status) -> dict[str, Any]:
    found: dict[str, Any] = {}
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details:
        if detail.Unpack(info):
            found |= {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
        elif detail.Unpack(bad):
            found["violations"] = tuple((one.field, one.description) for one in bad.field_violations)
        elif detail.Unpack(retry):
            found["retry_after_seconds"] = retry.retry_delay.ToNanoseconds() / 1e9
    return found
