"""`/v1/models`, `/health` and `/status`: what there is, and how it is."""

from __future__ import annotations

import time
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from inglenook.common.v1 import Capability, ModelInfo, ModelState
from inglenook.model.v1 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from inglenook.router.v1 import (
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
)
from starlette.responses import Response

from services.chassis.local import LocalCallFailed
from services.router.http import status_page
from services.router.http.endpoint import respond
from services.router.http.exchange import Exchange

MODELS: Final = "/inglenook.model.v1.ModelService/"
ROUTER: Final = "/inglenook.router.v1.RouterService/"
CHECK: Final = "/grpc.health.v1.Health/Check"
HTML: Final = "text/html"
STARTED: Final = int(time.time())
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


async def list_models(exchange: Exchange) -> Response:
    """List the models that callers may name."""
    models = await _models(exchange)
    return respond({"object": "list", "data": [_model(info) for info in models]})


async def get_model(exchange: Exchange) -> Response:
    """Describe one model."""
    request = GetModelRequest(model=exchange.request.path_params["model"])
    outcome = await exchange.call(f"{MODELS}GetModel", request)
    return respond(_model(GetModelResponse.FromString(outcome.content).model))


async def health(exchange: Exchange) -> Response:
    """Say whether calls are taken: 200, or 503 while the process starts or leaves."""
    outcome = await exchange.call(CHECK, health_pb2.HealthCheckRequest())
    serving = health_pb2.HealthCheckResponse.FromString(outcome.content).status == SERVING
    return respond({"status": "ok" if serving else "not serving"}, status=200 if serving else 503)


async def status(exchange: Exchange) -> Response:
    """Say how the cluster is: the router, its capabilities, backends and models. Browsers get a page."""
    for_people = HTML in exchange.request.headers.get("accept", "")
    try:
        outcome = await exchange.call(f"{ROUTER}GetStatus", GetStatusRequest())
        listed = await exchange.call(f"{ROUTER}ListBackends", ListBackendsRequest())
        models = await _models(exchange)
    except LocalCallFailed as error:
        if for_people and error.status.code is grpc.StatusCode.UNAUTHENTICATED:
            return status_page.locked()
        raise
    router = GetStatusResponse.FromString(outcome.content)
    backends = ListBackendsResponse.FromString(listed.content)
    if for_people:
        return status_page.shown(router, backends.backends, models)
    told = _plain(router) | _plain(backends) | {"models": [_plain(info) for info in models]}
    return respond(told, {"cache-control": "no-store", "vary": "accept"})


async def _models(exchange: Exchange) -> list[ModelInfo]:
    outcome = await exchange.call(f"{MODELS}ListModels", ListModelsRequest())
    return list(ListModelsResponse.FromString(outcome.content).models)


def _model(info: ModelInfo) -> dict[str, Any]:
    """Return a model as OpenAI lists it; nobody here knows when it was made."""
    ours = {
        "capability": Capability.Name(info.capability).removeprefix("CAPABILITY_").lower(),
        "state": ModelState.Name(info.state).removeprefix("MODEL_STATE_").lower(),
    }
    return {
        "id": info.name,
        "object": "model",
        "created": STARTED,
        "owned_by": "inglenook",
        "inglenook": ours,
    }


def _plain(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
