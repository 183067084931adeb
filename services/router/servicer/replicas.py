"""Asking every replica of a route about its models, each over a connection of its own.

A call of the route would reach one replica, and only one whose models are loaded. The model service of a
replica answers while its models are still loading, or when none is loaded at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import grpc
from inglenook.common.v1 import ModelInfo, ModelState
from inglenook.model.v1 import (
    ListModelsRequest,
    LoadModelRequest,
    ModelServiceStub,
    UnloadModelRequest,
)

from services.router.errors import NO_ROUTE, NoBackend
from services.router.routing.endpoint import EndpointState
from services.router.routing.explain import explain
from services.router.routing.route import Route
from services.router.routing.spaces import lacks

ASK_SECONDS: Final = 2.0
"""How long one replica may take to describe its models."""

STATE_ORDER: Final = (
    ModelState.MODEL_STATE_READY,
    ModelState.MODEL_STATE_LOADING,
    ModelState.MODEL_STATE_UNLOADING,
    ModelState.MODEL_STATE_FAILED,
    ModelState.MODEL_STATE_AVAILABLE,
    ModelState.MODEL_STATE_UNSPECIFIED,
)


async def describe_models(route: Route, remaining: float | None) -> dict[str, ModelInfo]:
    """Return the models of a route as its replicas describe them, in the order they list them.

    A replica that does not answer within `ASK_SECONDS`, or half of the caller's `remaining` seconds if that
    is less, is left out: the caller still gets what the others say.
    """
    seconds = ASK_SECONDS if remaining is None else min(ASK_SECONDS, remaining / 2)
    by_name: dict[str, list[ModelInfo]] = {}
    for infos in await asyncio.gather(*(_list(channel, seconds) for channel in _reachable(route))):
        for info in infos:
            by_name.setdefault(info.name, []).append(info)
    return {name: _most_ready(infos) for name, infos in by_name.items()}


async def load_everywhere(route: Route, request: LoadModelRequest, remaining: float | None) -> ModelInfo:
    """Load a model on every replica that is reachable; one that fails fails the call.

    Raises:
        NoBackend: No replica is reachable.
        Relayed: A replica answered with an error.
    """

    async def load(channel: grpc.aio.Channel) -> ModelInfo:
        try:
            return (await ModelServiceStub(channel).LoadModel(request, timeout=remaining)).model
        except grpc.aio.AioRpcError as error:
            raise explain(error, route.capability) from error

    return _most_ready(await asyncio.gather(*(load(channel) for channel in _require(route, request.model))))


async def unload_everywhere(route: Route, request: UnloadModelRequest, remaining: float | None) -> ModelInfo:
    """Take a model out of memory on every replica that is reachable. Errors: as for loading."""

    async def unload(channel: grpc.aio.Channel) -> ModelInfo:
        try:
            return (await ModelServiceStub(channel).UnloadModel(request, timeout=remaining)).model
        except grpc.aio.AioRpcError as error:
            raise explain(error, route.capability) from error

    return _most_ready(await asyncio.gather(*(unload(channel) for channel in _require(route, request.model))))


async def _list(channel: grpc.aio.Channel, seconds: float) -> Iterable[ModelInfo]:
    try:
        return (await ModelServiceStub(channel).ListModels(ListModelsRequest(), timeout=seconds)).models
    except grpc.aio.AioRpcError:
        return ()  # what a replica that does not answer has is not known


def _reachable(route: Route, model: str = "") -> list[grpc.aio.Channel]:
    """Return channels to the replicas that can be reached, of backends that may have a model."""
    return [
        endpoint.channel
        for pool in route.pools
        if len(route.pools) == 1 or not lacks(pool, model)
        for endpoint in pool.endpoints
        if endpoint.status.state is not EndpointState.UNREACHABLE
    ]


def _require(route: Route, model: str) -> list[grpc.aio.Channel]:
    if not route.pools:
        raise NoBackend(route.capability, NO_ROUTE)
    channels = _reachable(route, model)
    if not channels:
        raise NoBackend(route.capability, "none of its replicas can be reached")
    return channels


def _most_ready(infos: Iterable[ModelInfo]) -> ModelInfo:
    """Return the description that counts, of replicas that may disagree: one that answers is enough."""
    return min(infos, key=lambda info: STATE_ORDER.index(info.state))
