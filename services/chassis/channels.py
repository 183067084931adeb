"""Channels to backends: balanced, health-checked, impatient with frozen processes.

All of it is gRPC's own and works from Python by configuration alone. Two things are not obvious.
`grpc.keepalive_timeout_ms` does not bound how long a ping may go unanswered, `grpc.http2.ping_timeout_ms`
does. And hedging is accepted and ignored, so there is none here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from services.config import Channels, Limits, is_literal, split_address

RETRYABLE_CODES: Final = ("UNAVAILABLE", "CANCELLED")
"""UNAVAILABLE as usual. CANCELLED because a server that stops, or whose loop stalls, cancels calls that
no handler has seen; a caller's own cancellation never comes back as a status to retry."""


EJECTION_PERCENT: Final = 95
"""A replica is ejected when a larger share of its calls fails. gRPC counts every status but OK: calls that
are wrong, and calls for a model that could not be loaded, must not take a replica away from everybody else.
One that is broken fails them all."""


def target(endpoints: Sequence[str]) -> str:
    """Return the gRPC target for endpoints that the configuration has checked.

    One endpoint is looked up by DNS, and every address found is balanced over. Several endpoints have
    IP addresses, which gRPC takes as a list.
    """
    if len(endpoints) == 1 and not is_literal(split_address(endpoints[0])[0]):
        return f"dns:///{endpoints[0]}"
    numeric = [endpoint.replace("localhost:", "127.0.0.1:") for endpoint in endpoints]
    scheme = "ipv6" if numeric[0].startswith("[") else "ipv4"
    return f"{scheme}:{','.join(numeric)}"


def backend_channel(
    endpoints: Sequence[str], services: Iterable[ServiceDescriptor], channels: Channels, limits: Limits
) -> grpc.aio.Channel:
    """Return a channel that spreads calls of `services` over `endpoints`.

    Must be called inside the running event loop. The first service's name is asked for in health checks.
    """
    config = service_config(list(services), channels)
    options = [("grpc.service_config", json.dumps(config)), *_options(channels, limits)]
    return grpc.aio.insecure_channel(target(endpoints), options=options)


def endpoint_channel(endpoint: str, channels: Channels, limits: Limits) -> grpc.aio.Channel:
    """Return a channel to exactly one endpoint, on a connection that no other channel shares."""
    own = ("grpc.use_local_subchannel_pool", 1)
    return grpc.aio.insecure_channel(target([endpoint]), options=[own, *_options(channels, limits)])


def service_config(services: Sequence[ServiceDescriptor], channels: Channels) -> dict[str, Any]:
    """Return the service config (https://github.com/grpc/grpc/blob/master/doc/service_config.md).

    Which methods may be retried is read from the contract: those marked NO_SIDE_EFFECTS.
    """
    names = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    ]
    retry = {
        "maxAttempts": channels.max_attempts,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": list(RETRYABLE_CODES),
    }
    outliers = {
        "interval": f"{channels.outlier_interval_seconds:g}s",
        "baseEjectionTime": f"{channels.ejection_seconds:g}s",
        "maxEjectionPercent": 50,
        "failurePercentageEjection": {
            "threshold": EJECTION_PERCENT,
            "enforcementPercentage": 100,
            "minimumHosts": 2,
            "requestVolume": 5,
        },
        "childPolicy": [{"round_robin": {}}],
    }
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"outlier_detection_experimental": outliers}],
        "healthCheckConfig": {"serviceName": services[0].full_name},
        "connectionScaling": {"maxConnectionsPerSubchannel": 4},
    }
    if names and channels.max_attempts > 1:
        config["methodConfig"] = [{"name": names, "retryPolicy": retry}]
        # Every failed attempt takes a token, and below half of them nothing is retried. As many as gRPC
        # takes, so that one lost replica with some hundred calls does not stop the retries of them all.
        config["retryThrottling"] = {"maxTokens": 1000, "tokenRatio": 1}
    return config


def _options(channels: Channels, limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.keepalive_time_ms", int(channels.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(channels.ping_timeout_seconds * 1000)),
        ("grpc.http2.ping_timeout_ms", int(channels.ping_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", -1),
        # A request larger than this buffer would silently lose its retries.
        ("grpc.per_rpc_retry_buffer_size", 2 * limits.max_message_bytes),
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        # A replica that restarts is found again soon: until then all calls are for the others.
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
