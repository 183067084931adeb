"""Channels to single endpoints, impatient with frozen processes.

`grpc.keepalive_timeout_ms` does not bound how long a ping may go unanswered, `grpc.http2.ping_timeout_ms`
does. Whom to ask, and whom to ask next, is not decided here but by the router (decision 21).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import grpc

from services.chassis.tls import Secured
from services.config import Channels, Limits

SERVICE_CONFIG: Final = json.dumps({"connectionScaling": {"maxConnectionsPerSubchannel": 4}})
"""Another connection is made when the server takes no more streams on the first. Without a retry policy, gRPC
makes only those calls again that never left this process, or that the server has said not to have seen."""


def endpoint_channel(
    endpoint: str, channels: Channels, limits: Limits, tls: Secured | None = None
) -> grpc.aio.Channel:
    """Return a channel to exactly one endpoint, on a connection that no other channel shares.

    Must be called inside the running event loop. The endpoint has an IP address, or is `localhost`.
    """
    numeric = endpoint.replace("localhost:", "127.0.0.1:")
    scheme = "ipv6" if numeric.startswith("[") else "ipv4"
    own = ("grpc.use_local_subchannel_pool", 1)
    options = [("grpc.service_config", SERVICE_CONFIG), own, *_options(channels, limits)]
    return _open(f"{scheme}:{numeric}", options, tls)


def _open(where: str, options: Sequence[tuple[str, Any]], tls: Secured | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(where, options=options)
    return grpc.aio.secure_channel(where, tls.credentials, options=[*options, *tls.options])


def _options(channels: Channels, limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.keepalive_time_ms", int(channels.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(channels.ping_timeout_seconds * 1000)),
        ("grpc.http2.ping_timeout_ms", int(channels.ping_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", -1),
        # A request larger than this buffer would silently lose its transparent retries.
        ("grpc.per_rpc_retry_buffer_size", 2 * limits.max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        # A replica that restarts is found again soon: until then all calls are for the others.
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
