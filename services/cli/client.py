"""A connection to the router, with errors told the way a person needs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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
from services.chassis.tls import Secured
from services.cli.words import span
from services.config import Configuration, join_address, split_address
from services.config.sections.network import RouterService

WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what they listen at is not what can be called
HEALTH_SECONDS: Final = 1.0
MAX_RESPONSE_BYTES: Final = 256 * 1024 * 1024

NO_CONNECTION: Final = "failed to connect"
NOT_SECURE: Final = "the connection to {0} could not be made secure: "
INSECURE: Final = (
    ("CERTIFICATE_VERIFY_FAILED", NOT_SECURE + "its certificate is of no authority that --tls-ca names"),
    ("Hostname Verification", NOT_SECURE + "its certificate is for another name; --tls-name says which"),
    ("WRONG_VERSION_NUMBER", NOT_SECURE + "what answers there does not speak TLS"),
    ("handshake", NOT_SECURE + "what answers there may not speak TLS"),
    ("Secure read", NOT_SECURE + "it may let in only those who show a certificate; see --tls-cert"),
    ("Socket closed", "{0} ends every connection: it may speak TLS, which needs --tls-ca"),
)
"""What is in gRPC's words for a connection that could not be made, and what it means."""

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
        retry_after_seconds: When the same call may succeed; None if the answer does not say.
    """

    code: str
    message: str
    reason: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    retry_after_seconds: float | None = None

    def __str__(self) -> str:
        told = f"{self.reason or self.code}: {self.message}"
        if not self.retry_after_seconds:
            return told
        return f"{told}; try again in {span(self.retry_after_seconds)}"


def router_address(configuration: Configuration | None) -> str:
    """Return where the router of a configuration can be reached from this machine."""
    service = configuration.services.router if configuration is not None else RouterService()
    host, port = split_address(service.listen)
    return join_address(WILDCARDS.get(host, host), port)


def serves(
    address: str, service: str = "", seconds: float = HEALTH_SECONDS, tls: Secured | None = None
) -> bool:
    """Say whether a process at `address` says SERVING for `service`."""
    with _open(address, (), tls) as channel:
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # missing in the stubs
                health_pb2.HealthCheckRequest(service=service), timeout=seconds
            )
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def despair(address: str, seconds: float = HEALTH_SECONDS, tls: Secured | None = None) -> str:
    """Say why no model of the service at `address` will ever answer; empty if one does, or still may."""
    with _open(address, (), tls) as channel:
        try:
            models = ModelServiceStub(channel).ListModels(ListModelsRequest(), timeout=seconds).models
        except grpc.RpcError:
            return ""
    failed = [one for one in models if one.state == ModelState.MODEL_STATE_FAILED]
    if len(failed) < len(models):
        return ""
    return "\n".join(f"model {one.name}: {one.state_detail}" for one in failed)


@dataclass(frozen=True, slots=True)
class Means:
    """How to connect.

    Attributes:
        tls: What TLS needs; None for plain text.
        key: API key that goes with every call.
    """

    tls: Secured | None = None
    key: str | None = field(default=None, repr=False)


@contextmanager
def connect(address: str, timeout_seconds: float, means: Means | None = None) -> Iterator[Client]:
    """Open a connection for the commands of one run. Default: in plain text, without a key."""
    means = means or Means()
    with _open(address, [("grpc.max_receive_message_length", MAX_RESPONSE_BYTES)], means.tls) as channel:
        shown = grpc.intercept_channel(channel, _Showing(means.key)) if means.key else channel
        yield Client(shown, address, timeout_seconds)


def _open(address: str, options: Sequence[tuple[str, Any]], tls: Secured | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, tls.credentials, options=[*options, *tls.options])


class _Showing(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Shows an API key with every call."""

    def __init__(self, key: str) -> None:
        self._shown = ("authorization", f"Bearer {key}")

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Make a call with one response."""
        return continuation(self._with_key(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Make a call with a stream of responses."""
        return continuation(self._with_key(client_call_details), request)

    def _with_key(self, details: Any) -> Any:
        return details._replace(metadata=(*(details.metadata or ()), self._shown))


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
            failed.message = _unreachable(self.address, failed.message)
        return failed


def _unreachable(address: str, said: str) -> str:
    """Return what to do when there is no connection, from what gRPC said of it."""
    if NO_CONNECTION in said:
        for sign, words in INSECURE:
            if sign in said:
                return words.format(address)
    return f"nothing answers at {address}; `inglenook up` starts a cluster"


def _read_details(failed: CallFailed, content: bytes) -> None:
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(content).details:
        if detail.Unpack(info):
            failed.reason = info.reason
        elif detail.Unpack(retry):
            failed.retry_after_seconds = retry.retry_delay.ToMilliseconds() / 1000
        elif detail.Unpack(request):
            failed.fields = [(one.field, one.description) for one in request.field_violations]
