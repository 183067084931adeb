"""`RouterService`: what the router sees, for operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.router.v1 import (
    Backend,
    BackendState,
    CapabilityStatus,
    ConfigStatus,
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
    PurgeCacheRequest,
    PurgeCacheResponse,
    ReloadRequest,
    ReloadResponse,
    RouterServiceServicer,
)

from services.chassis.errors import NotServed
from services.config import Capability, ConfigurationFile
from services.router.capabilities import WIRE, wanted
from services.router.endpoint import EndpointState
from services.router.route import Route
from services.version import VERSION

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

STATES: Final = {
    EndpointState.UNKNOWN: BackendState.BACKEND_STATE_UNSPECIFIED,
    EndpointState.HEALTHY: BackendState.BACKEND_STATE_HEALTHY,
    EndpointState.NOT_SERVING: BackendState.BACKEND_STATE_NOT_SERVING,
    EndpointState.UNREACHABLE: BackendState.BACKEND_STATE_UNREACHABLE,
}


class RouterServicer(RouterServiceServicer):
    """Describes `routes` and the configuration in force."""

    def __init__(
        self,
        file: ConfigurationFile,
        routes: Mapping[Capability, Route],
        calls_in_flight: Callable[[Capability], int],
    ) -> None:
        self._file = file
        self._routes = routes
        self._calls_in_flight = calls_in_flight
        self._started_at = datetime.now(UTC)

    async def GetStatus(self, request: GetStatusRequest, context: Context) -> GetStatusResponse:
        """Say how the cluster is."""
        del request, context
        uptime = Duration()
        uptime.FromTimedelta(datetime.now(UTC) - self._started_at)
        return GetStatusResponse(
            version=VERSION,
            started_at=_timestamp(self._started_at),
            uptime=uptime,
            capabilities=[self._capability(route) for route in self._routes.values()],
            config=ConfigStatus(
                path=str(self._file.path),
                sha256=self._file.sha256,
                loaded_at=_timestamp(self._file.loaded_at),
            ),
        )

    async def ListBackends(self, request: ListBackendsRequest, context: Context) -> ListBackendsResponse:
        """List the backends of every route."""
        del context
        capabilities = wanted(request.capability)
        return ListBackendsResponse(
            backends=[
                Backend(
                    name=route.pool.name,
                    capability=WIRE[capability],
                    endpoint=status.endpoint,
                    state=STATES[status.state],
                    state_detail=status.detail,
                    state_since=_timestamp(status.since),
                    tier=0,
                )
                for capability, route in self._routes.items()
                if capability in capabilities
                if route.pool is not None
                for status in route.pool.statuses()
            ]
        )

    async def Reload(self, request: ReloadRequest, context: Context) -> ReloadResponse:
        """Not there yet: the configuration is read when the router starts."""
        raise NotServed

    async def PurgeCache(self, request: PurgeCacheRequest, context: Context) -> PurgeCacheResponse:
        """Not there yet: the router has no cache."""
        raise NotServed

    def _capability(self, route: Route) -> CapabilityStatus:
        pool = route.pool
        return CapabilityStatus(
            capability=WIRE[route.capability],
            available=route.available,
            healthy_backends=pool.healthy if pool is not None else 0,
            total_backends=len(pool.endpoints) if pool is not None else 0,
            calls_in_flight=self._calls_in_flight(route.capability),
        )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
