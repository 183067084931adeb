"""`ModelService` over the models of all backends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import grpc
from inglenook.common.v1 import ConfigStatus, ModelInfo
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
from services.chassis.reload import ReloadStatus, written
from services.config import AnyModel, Capability, Model
from services.router.capabilities import WIRE, wanted
from services.router.errors import UnknownModel
from services.router.servicer.delegate import Delegate
from services.router.servicer.replicas import describe_models, load_everywhere, unload_everywhere
from services.router.wiring import Current, Wiring

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
AboutModel: TypeAlias = GetModelRequest | LoadModelRequest | UnloadModelRequest | CountTokensRequest

METHOD: Final = "/inglenook.model.v1.ModelService/"


class ModelServicer(ModelServiceServicer):
    """Knows from the configuration which models there are, and asks their replicas how they are.

    A name `<provider>/<model>` that the configuration does not have may be a model that a provider has: the
    chat service knows, and is asked as it is.
    """

    def __init__(
        self,
        current: Current,
        delegates: Mapping[Capability, Delegate],
        config: Callable[[], ReloadStatus],
    ) -> None:
        self._current = current
        self._delegates = delegates
        self._config = config

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """List models in the order of the configuration."""
        capabilities = wanted(request.capability)
        timeout = remaining_seconds(context)
        with self._current.use() as wiring:
            asked = (describe_models(wiring.routes[capability], timeout) for capability in capabilities)
            found = dict(zip(capabilities, await asyncio.gather(*asked), strict=True))
            sections = wiring.configuration.models
        models = [
            found[section.capability].pop(name, _unheard(name, section))
            for name, section in sections.items()
            if section.capability in found
        ]
        # Replicas that serve several capabilities tell of all their models each time.
        extra = [
            info
            for capability, by_name in found.items()
            for info in by_name.values()
            if info.capability == WIRE[capability]
        ]
        config = written(self._config(), ConfigStatus())
        return ListModelsResponse(models=[*models, *extra], config=config)

    async def GetModel(self, request: GetModelRequest, context: Context) -> GetModelResponse:
        """Describe one model."""
        with self._current.use() as wiring:
            if (section := wiring.configuration.models.get(request.model)) is None:
                content = await self._discovered(wiring, "GetModel", request, context)
                return GetModelResponse.FromString(content)
            found = await describe_models(wiring.routes[section.capability], remaining_seconds(context))
        return GetModelResponse(model=found.get(request.model, _unheard(request.model, section)))

    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        """Load a model on every replica that is reachable, and return once all of them have it."""
        with self._current.use() as wiring:
            if (section := wiring.configuration.models.get(request.model)) is None:
                content = await self._discovered(wiring, "LoadModel", request, context)
                return LoadModelResponse.FromString(content)
            route = wiring.routes[section.capability]
            return LoadModelResponse(model=await load_everywhere(route, request, remaining_seconds(context)))

    async def UnloadModel(self, request: UnloadModelRequest, context: Context) -> UnloadModelResponse:
        """Take a model out of memory on every replica that is reachable."""
        with self._current.use() as wiring:
            if (section := wiring.configuration.models.get(request.model)) is None:
                content = await self._discovered(wiring, "UnloadModel", request, context)
                return UnloadModelResponse.FromString(content)
            route = wiring.routes[section.capability]
            info = await unload_everywhere(route, request, remaining_seconds(context))
            return UnloadModelResponse(model=info)

    async def CountTokens(self, request: CountTokensRequest, context: Context) -> CountTokensResponse:
        """Have any replica of the model's route count."""
        with self._current.use() as wiring:
            if (section := wiring.configuration.models.get(request.model)) is None:
                content = await self._discovered(wiring, "CountTokens", request, context)
            else:
                content = await self._ask(section.capability, "CountTokens", request, context)
        return CountTokensResponse.FromString(content)

    async def _discovered(self, wiring: Wiring, method: str, request: AboutModel, context: Context) -> bytes:
        """Have the chat service answer for a model that the configuration does not have.

        Raises:
            UnknownModel: There is none of that name.
            Relayed: The chat service does not know it either, or answered with another error.
            NoBackend: The chat service cannot be reached.
        """
        if "/" not in request.model or not wiring.routes["chat"].pools:
            raise UnknownModel(wiring.configuration.models)
        return await self._ask("chat", method, request, context)

    async def _ask(self, capability: Capability, method: str, request: AboutModel, context: Context) -> bytes:
        delegate = self._delegates[capability]
        return await delegate.unary(METHOD + method, request.SerializeToString(), context)


def _unheard(name: str, section: AnyModel) -> ModelInfo:
    """Describe a model of which no replica says anything."""
    info = ModelInfo(
        name=name,
        capability=WIRE[section.capability],
        state_detail="no replica that has it can be reached",
    )
    if isinstance(section, Model):
        info.source, info.revision = section.source, section.revision or ""
    else:
        info.targets.extend(section.targets)
    return info
