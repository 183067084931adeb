"""`[services]`, `[backends]`, `[channels]`: who listens where, and who calls whom how."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator

from services.config.sections.base import LENIENT, Seconds, Section

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


class Service(Section):
    """Where one service listens."""

    listen: Address
    """Address of the gRPC server, `host:port`. Port 0 takes a free one."""
    metrics_listen: Address | None
    """Address of the Prometheus endpoint, `host:port`. Port 0 takes a free one; `--no-metrics` on the
    command line turns it off."""
    reflection: bool = True
    """Serve gRPC reflection, which grpcurl and buf curl use."""


class RouterService(Service):
    """The router."""

    listen: Address = "127.0.0.1:50051"
    metrics_listen: Address | None = "127.0.0.1:9101"


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
    max_attempts: Annotated[int, Field(ge=1, le=5)] = 4
    """Most attempts for a call that is safe to retry, the first included."""
    outlier_interval_seconds: Annotated[Seconds, Field(ge=0.1)] = 2.0
    """How often endpoints whose calls fail are looked for, to be ejected."""
    ejection_seconds: Annotated[Seconds, Field(ge=0.1)] = 10.0
    """How long an endpoint stays ejected the first time; each further time it stays longer."""
