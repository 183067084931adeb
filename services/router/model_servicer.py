"""`ModelService` over the models of all backends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import grpc
from inglenook.common.v1 import ModelInfo
from inglenook.model.v1 import (
    CountTokensRequest,
    CountTokensResponse,
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    ModelServiceServicer,
    UnloadModelRequest,
    UnloadModelResponse,
)

from services.chassis.deadline import remaining_seconds
from services.config import AnyModel, Capability
from services.router.capabilities import WIRE, wanted
from services.router.delegate import Delegate
from services.router.errors import UnknownModel
from services.router.replicas import describe_models, load_everywhere, unload_everywhere
from services.router.route import Route

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

COUNT_TOKENS: Final = "/inglenook.model.v1.ModelService/CountTokens"


class ModelServicer(ModelServiceServicer):
    """Knows from the configuration which models there are, and asks their replicas how they are."""

    def __init__(
        self,
        models: Mapping[str, AnyModel],
        routes: Mapping[Capability, Route],
        delegates: Mapping[Capability, Delegate],
    ) -> None:
        self._models = models
        self._routes = routes
        self._delegates = delegates

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """List models in the order of the configuration."""
        capabilities = wanted(request.capability)
        timeout = remaining_seconds(context)
        asked = (describe_models(self._routes[capability], timeout) for capability in capabilities)
        found = dict(zip(capabilities, await asyncio.gather(*asked), strict=True))
        models = [
            found[section.capability].pop(name, _unheard(name, section))
            for name, section in self._models.items()
            if section.capability in found
        ]
        extra = [info for by_name in found.values() for info in by_name.values()]
        return ListModelsResponse(models=[*models, *extra])

    async def GetModel(self, request: GetModelRequest, context: Context) -> GetModelResponse:
        """Describe one model."""
        section = self._section(request.model)
        found = await describe_models(self._routes[section.capability], remaining_seconds(context))
        return GetModelResponse(model=found.get(request.model, _unheard(request.model, section)))

    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        """Load a model on every replica that is reachable, and return once all of them have it."""
        route = self._routes[self._section(request.model).capability]
        return LoadModelResponse(model=await load_everywhere(route, request, remaining_seconds(context)))

    async def UnloadModel(self, request: UnloadModelRequest, context: Context) -> UnloadModelResponse:
        """Take a model out of memory on every replica that is reachable."""
        route = self._routes[self._section(request.model).capability]
        return UnloadModelResponse(model=await unload_everywhere(route, request, remaining_seconds(context)))

    async def CountTokens(self, request: CountTokensRequest, context: Context) -> CountTokensResponse:
        """Have any replica of the model's route count."""
        delegate = self._delegates[self._section(request.model).capability]
        content = await delegate.unary(COUNT_TOKENS, request.SerializeToString(), context)
        return CountTokensResponse.FromString(content)

    def _section(self, name: str) -> AnyModel:
        if name not in self._models:
            raise UnknownModel(self._models)
        return self._models[name]


def _unheard(name: str, section: AnyModel) -> ModelInfo:
    """Describe a model of which no replica says anything."""
    return ModelInfo(
        name=name,
        capability=WIRE[section.capability],
        source=section.source,
        revision=section.revision or "",
        state_detail="no replica that has it can be reached",
    )
