"""`[services]`, `[backends]`, `[channels]`: who listens where, and who calls whom how."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from services.config.sections.base import LENIENT, FilePath, Refused, Seconds, Section

MAX_PORT: Final = 65_535
PORT: Final = re.compile(r"[0-9]{1,5}")


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[ipv6]:port`.

    Raises:
        ValueError: It is neither, or the port is not within 0 to 65535.
    """
    host, separator, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        separator = ""
    if not separator or not host or not PORT.fullmatch(port) or int(port) > MAX_PORT:
        message = "must be host:port, or [address]:port for IPv6, with a port up to 65535"
        raise ValueError(message)
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_address(address: str) -> str:
    """Return `address` if `split_address` understands it."""
    split_address(address)
    return address


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`: `localhost`, or an address that is never routed."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_literal(host: str) -> bool:
    """Say whether `host` needs no name service: an IP address or `localhost`."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


Address = Annotated[
    str, AfterValidator(check_address), WithJsonSchema({"type": "string", "format": "address"})
]
"""`host:port`, or `[address]:port` for IPv6."""


OFF: Final = "off"


def _unless_off(value: Any) -> Any:
    return None if value == OFF else value


def _check_if_any(address: str) -> str:
    try:
        return check_address(address)
    except ValueError as error:
        message = f'{error}; or "{OFF}"'
        raise ValueError(message) from error


OptionalAddress = Annotated[
    Annotated[str, AfterValidator(_check_if_any)] | None,
    BeforeValidator(_unless_off),
    WithJsonSchema({"type": "string", "format": "optional-address"}),
]
"""An `Address`, or `off`, which becomes None."""


class Tls(Section):
    """Certificates of a server. The files may be replaced while it runs: new connections get the new ones.

    Relative paths start at the configuration file.
    """

    certificate: FilePath
    """Certificate chain, PEM, the server's own certificate first."""
    key: FilePath
    """Private key of the certificate, PEM, without a passphrase."""
    client_ca: FilePath | None = None
    """Certificates of the authorities whose clients are let in, PEM: mutual TLS. Default: any client."""


class ClientTls(Section):
    """How the router knows a backend's servers, and shows itself to them. The files may be replaced, too.

    Relative paths start at the configuration file.
    """

    ca: FilePath
    """Certificates of the authorities that servers are trusted by, PEM."""
    certificate: FilePath | None = None
    """Certificate chain that the router shows, PEM; needs `key`. Default: it shows none."""
    key: FilePath | None = None
    """Private key of the certificate, PEM, without a passphrase. Default: none, like the certificate."""
    server_name: str | None = None
    """Name that servers' certificates are for. Default: the host of the endpoint."""

    @model_validator(mode="after")
    def check_pair(self) -> ClientTls:
        """Refuse half of a pair."""
        if (self.certificate is None) != (self.key is None):
            message = "has only one of `certificate` and `key`"
            raise Refused(message, "set both, or neither")
        return self


class Service(Section):
    """Where one service listens."""

    listen: Address
    """Address of the gRPC server, `host:port`. Port 0 takes a free one."""
    metrics_listen: Address | None
    """Address of the Prometheus endpoint, `host:port`. Port 0 takes a free one; `--no-metrics` on the
    command line turns it off."""
    reflection: bool = True
    """Serve gRPC reflection, which grpcurl and buf curl use."""
    tls: Tls | None = None
    """Speak TLS, on gRPC and HTTP alike. Default: plain text."""


class RouterService(Service):
    """The router."""

    listen: Address = "127.0.0.1:50051"
    metrics_listen: Address | None = "127.0.0.1:9101"
    http_listen: OptionalAddress = "127.0.0.1:3030"
    """Address of the HTTP server, which speaks OpenAI: docs/http.md. Port 0 takes a free one."""


class ChatService(Service):
    """The chat service."""

    listen: Address = "127.0.0.1:50052"
    metrics_listen: Address | None = "127.0.0.1:9102"


class EmbedService(Service):
    """The embed service."""

    listen: Address = "127.0.0.1:50053"
    metrics_listen: Address | None = "127.0.0.1:9103"


class RerankService(Service):
    """The rerank service."""

    listen: Address = "127.0.0.1:50054"
    metrics_listen: Address | None = "127.0.0.1:9104"


class NliService(Service):
    """The nli service."""

    listen: Address = "127.0.0.1:50055"
    metrics_listen: Address | None = "127.0.0.1:9105"


class Services(Section):
    """Where each service listens."""

    router: RouterService = RouterService()
    chat: ChatService = ChatService()
    embed: EmbedService = EmbedService()
    rerank: RerankService = RerankService()
    nli: NliService = NliService()


class Backend(Section):
    """Endpoints that answer for one backend name."""

    endpoints: Annotated[tuple[Address, ...], LENIENT, Field(max_length=256)]
    """Where the backend's replicas listen: either one `host:port` whose DNS name may stand for any
    number of replicas, or several addresses with IP addresses or localhost as hosts."""
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """What a call costs here compared with other backends, in any unit; for `strategy = "lowest_cost"`."""
    tls: ClientTls | None = None
    """Speak TLS with its endpoints. Default: plain text."""

    @field_validator("endpoints")
    @classmethod
    def check_several(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what nothing can listen on, and lists that one gRPC channel could not balance over."""
        if not endpoints:  # not min_length: that counts items without the wrong ones
            message = "must have at least one endpoint"
            raise ValueError(message)
        if len(set(endpoints)) != len(endpoints):
            message = "names an endpoint twice"
            raise ValueError(message)
        addresses = [split_address(endpoint) for endpoint in endpoints]
        if not all(port for _, port in addresses):
            message = "must name the port that the backend listens on, not 0"
            raise ValueError(message)
        if len(endpoints) > 1 and not all(is_literal(host) for host, _ in addresses):
            message = (
                "may list several endpoints only by IP address; use one DNS name that stands for all replicas"
            )
            raise ValueError(message)
        if len({":" in host for host, _ in addresses}) > 1:
            message = "mixes IPv4 and IPv6 addresses, which one connection pool cannot; use one of them"
            raise ValueError(message)
        return endpoints


class Channels(Section):
    """How the router's connections to backends behave."""

    keepalive_seconds: Annotated[Seconds, Field(ge=1)] = 2.0
    """A connection on which nothing was heard for this long is asked for a sign of life."""
    ping_timeout_seconds: Annotated[Seconds, Field(ge=0.1)] = 2.0
    """A connection that gives no sign of life for this long is closed, and its calls that are safe to
    retry move to another endpoint. Together with `keepalive_seconds` this bounds how long a frozen
    process can hold a call."""
    ejection_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """An endpoint is ejected, which means that it gets no calls for a while, after so many failures in a row.
    Only failures that it is to blame for count: lost connections, bugs, models that break. At most half of a
    backend's endpoints are ejected, and never the last healthy one."""
    ejection_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """An endpoint is also ejected when at least this share of its calls failed within
    `ejection_window_seconds`."""
    ejection_min_calls: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """How many calls there must have been for `ejection_share` to count."""
    ejection_window_seconds: Annotated[Seconds, Field(ge=0.1)] = 10.0
    """How far back `ejection_share` looks."""
    ejection_seconds: Annotated[Seconds, Field(ge=0.1)] = 10.0
    """How long an endpoint stays ejected the first time; the second time twice as long, and so on. After that
    one call at a time tries it."""
    max_ejection_seconds: Annotated[Seconds, Field(ge=0.1, validate_default=True)] = 120.0
    """Longest time that an endpoint stays ejected. At least `ejection_seconds`."""

    @field_validator("max_ejection_seconds")
    @classmethod
    def check_longest(cls, longest: float, info: ValidationInfo) -> float:
        """Refuse a longest time that is shorter than the first."""
        first = info.data.get("ejection_seconds", 0.0)  # absent when it has a problem of its own
        if longest < first:
            message = f"is {longest:g}, less than ejection_seconds, which is {first:g}"
            raise Refused(message, f"set it to {first:g} or more, or ejection_seconds to {longest:g} or less")
        return longest
