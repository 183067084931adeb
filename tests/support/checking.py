"""Health as probes and channels see it."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Status = health_pb2.HealthCheckResponse.ServingStatus


async def check(channel: grpc.aio.Channel, service: str = "") -> str:
    """Return the name of the status of one service, or of the status code if there is none."""
    stub: Any = health_pb2_grpc.HealthStub(channel)  # typed for sync channels
    try:
        response = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return Status.Name(response.status)


def watch(channel: grpc.aio.Channel, service: str = "") -> grpc.aio.UnaryStreamCall[object, object]:
    """Begin to watch the health of one service; `next_status` reads it."""
    stub: Any = health_pb2_grpc.HealthStub(channel)  # typed for sync channels
    call: grpc.aio.UnaryStreamCall[object, object] = stub.Watch(
        health_pb2.HealthCheckRequest(service=service), timeout=60
    )
    return call


async def next_status(call: grpc.aio.UnaryStreamCall[object, object]) -> str:
    """Return the name of the next status of a watch, or `ended`."""
    response = await call.read()
    if not isinstance(response, health_pb2.HealthCheckResponse):
        return "ended"
    return Status.Name(response.status)
