"""The gRPC server, with the channel arguments that production has shown to be needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from services.chassis.metrics import AddressInUse
from services.chassis.tls import server_credentials
from services.config import Limits, Tls, join_address, split_address

TRANSPORT_SLACK: Final = 4
MAX_PENDING_CALLS: Final = 10_000
MAX_METADATA_BYTES: Final = 16_384

SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # Without this a second process silently shares the port and takes half of the calls.
    ("grpc.so_reuseport", 0),
    # While the event loop is busy, calls wait in gRPC's core, which by default soon answers CANCELLED.
    ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
    # Callers may ask for a sign of life once a second, calls or no calls; more often is abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 900),
    ("grpc.keepalive_permit_without_calls", 1),
    # Ends connections so that callers look names up again and find new replicas; gRPC adds a jitter.
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # One limit: between gRPC's two, which are 8 and 16 KiB, a call would be refused by chance.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # No lower: a client that keeps to the limit still overruns it, because it forgets a call sooner than
    # the server does, and the calls beyond it fail with UNAVAILABLE. Admission is what limits calls.
    ("grpc.max_concurrent_streams", MAX_PENDING_CALLS),
)


def new_server(interceptors: Sequence[grpc.aio.ServerInterceptor], limits: Limits) -> grpc.aio.Server:
    """Return a server that is not bound yet.

    gRPC itself refuses only messages several times larger than `limits.max_message_bytes`, to bound
    memory; what lies between is refused by `pipeline.decode`, which can say why.
    """
    receive = ("grpc.max_receive_message_length", TRANSPORT_SLACK * limits.max_message_bytes)
    return grpc.aio.server(interceptors=list(interceptors), options=[*SERVER_OPTIONS, receive])


def bind(server: grpc.aio.Server, address: str, tls: Tls | None = None) -> str:
    """Listen at `address` and return it, with the port that was taken if 0 was asked for.

    Raises:
        AddressInUse: Something else listens there, or the host has no such address.
        CertificatesUnusable: The files of `tls` cannot be used.
    """
    host, _ = split_address(address)
    credentials = server_credentials(tls) if tls is not None else None
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        message = f"cannot listen at {address}: the port is in use, or this host has no such address"
        raise AddressInUse(message) from error
    return join_address(host, port)
