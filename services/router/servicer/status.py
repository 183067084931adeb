"""`RouterService`: what the router sees, for operators."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.common.v1 import ConfigStatus
from inglenook.router.v1 import (
    Backend,
    BackendState,
    CacheStatus,
    CapabilityStatus,
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

from services.chassis.reload import Reloader, written
from services.config import Capability
from services.router.capabilities import WIRE, wanted
from services.router.routing.endpoint import Endpoint, EndpointState
from services.router.routing.pool import Pool
from services.router.routing.route import Route
from services.router.wiring import Current
from services.version import VERSION

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

STATES: Final = {
    EndpointState.UNKNOWN: BackendState.BACKEND_STATE_UNSPECIFIED,
    EndpointState.HEALTHY: BackendState.BACKEND_STATE_HEALTHY,
    EndpointState.NOT_SERVING: BackendState.BACKEND_STATE_NOT_SERVING,
    EndpointState.UNREACHABLE: BackendState.BACKEND_STATE_UNREACHABLE,
    EndpointState.EJECTED: BackendState.BACKEND_STATE_EJECTED,
    EndpointState.PROBING: BackendState.BACKEND_STATE_PROBING,
}


class RouterServicer(RouterServiceServicer):
    """Describes the wiring in force."""

    def __init__(self, current: Current, reloader: Reloader) -> None:
        self._current = current
        self._reloader = reloader
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
            capabilities=[self._capability(route) for route in self._current.wiring.routes.values()],
            config=self._config(),
            cache=CacheStatus(**asdict(self._current.wiring.cache.snapshot())),
        )

    async def ListBackends(self, request: ListBackendsRequest, context: Context) -> ListBackendsResponse:
        """List the backends of every route."""
        del context
        capabilities = wanted(request.capability)
        return ListBackendsResponse(
            backends=[
                _backend(capability, tier, pool, endpoint)
                for capability, route in self._current.wiring.routes.items()
                if capability in capabilities
                for tier, pool in enumerate(route.pools)
                for endpoint in pool.endpoints
            ]
        )

    async def Reload(self, request: ReloadRequest, context: Context) -> ReloadResponse:
        """Read the router's configuration again. Its backends look at theirs by themselves."""
        del request, context
        changed = await self._reloader.reload()
        return ReloadResponse(config=self._config(), changed=changed)

    async def PurgeCache(self, request: PurgeCacheRequest, context: Context) -> PurgeCacheResponse:
        """Forget cached answers, of one model or all."""
        del context
        with self._current.use() as wiring:
            return PurgeCacheResponse(purged_entries=await wiring.cache.purge(request.model))

    def _config(self) -> ConfigStatus:
        return written(self._reloader.status, ConfigStatus())

    def _capability(self, route: Route) -> CapabilityStatus:
        return CapabilityStatus(
            capability=WIRE[route.capability],
            available=route.available,
            healthy_backends=route.healthy,
            total_backends=len(route.endpoints),
            calls_in_flight=route.calls_in_flight,
            strategy=route.strategy,
        )


def _backend(capability: Capability, tier: int, pool: Pool, endpoint: Endpoint) -> Backend:
    status, latency = endpoint.status, endpoint.median_latency
    told = Backend(
        name=pool.name,
        capability=WIRE[capability],
        endpoint=status.endpoint,
        state=STATES[status.state],
        state_detail=status.detail,
        state_since=_timestamp(status.since),
        tier=tier,
        load=endpoint.reported_load,
        calls_in_flight=endpoint.calls_in_flight,
        ejections=endpoint.ejection.count,
        config=endpoint.catalog.config,
    )
    if latency is not None:
        told.median_time.FromTimedelta(timedelta(seconds=latency))
    return told


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
