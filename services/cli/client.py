"""A connection to the router, with errors told the way a person needs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from inglenook.common.v1 import ModelState
from inglenook.model.v1 import ListModelsRequest, ModelServiceStub

from services.chassis.pipeline.translate import SERVED_BY_KEY
from services.chassis.status import DETAILS_KEY
from services.config import Configuration, join_address, split_address
from services.config.sections.network import RouterService

WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what they listen at is not what can be called
HEALTH_SECONDS: Final = 1.0
MAX_RESPONSE_BYTES: Final = 256 * 1024 * 1024

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Response]):
    """An answer and how it came.

    Attributes:
        message: The answer.
        served_by: Which process computed it; empty if it does not say.
        seconds: How long the call took, seen from here.
    """

    message: Response
    served_by: str
    seconds: float


@dataclass
class CallFailed(Exception):
    """A call ended with an error; `str()` of it is for people.

    Attributes:
        code: Name of the status code.
        message: The status message.
        reason: `ErrorInfo.reason`; empty if the answer has no details.
        fields: Path and problem of every field that is wrong.
    """

    code: str
    message: str
    reason: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.reason or self.code}: {self.message}"


def router_address(configuration: Configuration | None) -> str:
    """Return where the router of a configuration can be reached from this machine."""
    service = configuration.services.router if configuration is not None else RouterService()
    host, port = split_address(service.listen)
    return join_address(WILDCARDS.get(host, host), port)


def serves(address: str, service: str = "", seconds: float = HEALTH_SECONDS) -> bool:
    """Say whether a process at `address` says SERVING for `service`."""
    with grpc.insecure_channel(address) as channel:
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # missing in the stubs
                health_pb2.HealthCheckRequest(service=service), timeout=seconds
            )
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def despair(address: str, seconds: float = HEALTH_SECONDS) -> str:
    """Say why no model of the service at `address` will ever answer; empty if one does, or still may."""
    with grpc.insecure_channel(address) as channel:
        try:
            models = ModelServiceStub(channel).ListModels(ListModelsRequest(), timeout=seconds).models
        except grpc.RpcError:
            return ""
    failed = [one for one in models if one.state == ModelState.MODEL_STATE_FAILED]
    if len(failed) < len(models):
        return ""
    return "\n".join(f"model {one.name}: {one.state_detail}" for one in failed)


@contextmanager
def connect(address: str, timeout_seconds: float) -> Iterator[Client]:
    """Open a connection for the commands of one run."""
    options = [("grpc.max_receive_message_length", MAX_RESPONSE_BYTES)]
    with grpc.insecure_channel(address, options=options) as channel:
        yield Client(channel, address, timeout_seconds)


@dataclass(frozen=True, slots=True)
class Client:
    """Calls one router (or any one service).

    Attributes:
        channel: The connection, for making stubs.
        address: Where it goes.
        timeout_seconds: Deadline of every call.
    """

    channel: grpc.Channel
    address: str
    timeout_seconds: float

    def call(self, method: Callable[..., Any], request: Message) -> Answer[Any]:
        """Make a call with one answer; `method` is a stub's.

        Raises:
            CallFailed: It ended with an error.
        """
        began = time.perf_counter()
        try:
            message, call = method.with_call(request, timeout=self.timeout_seconds)  # type: ignore[attr-defined]  # of a stub's method
        except grpc.RpcError as error:
            raise self._told(error) from None
        trailing = dict(call.trailing_metadata() or ())
        return Answer(message, str(trailing.get(SERVED_BY_KEY, "")), time.perf_counter() - began)

    def _told(self, error: Any) -> CallFailed:
        details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
        failed = CallFailed(error.code().name, error.details() or "")
        if isinstance(details, bytes):
            _read_details(failed, details)
        elif error.code() is grpc.StatusCode.UNAVAILABLE:
            failed.message = f"nothing answers at {self.address}; `inglenook up` starts a cluster"
        return failed


def _read_details(failed: CallFailed, content: bytes) -> None:
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(content).details:
        if detail.Unpack(info):
            failed.reason = info.reason
        elif detail.Unpack(request):
            failed.fields = [(one.field, one.description) for one in request.field_violations]
