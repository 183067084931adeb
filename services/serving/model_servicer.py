"""`ModelService` over the models of one service."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from inglenook.common.v1 import Capability, ConfigStatus
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

from services.chassis.errors import InvalidRequest
from services.chassis.reload import ReloadStatus, written
from services.inference.errors import ModelFailed
from services.inference.lifecycle import LoadedModel, ModelState, Registry
from services.serving.options import Context, deadline_of
from services.serving.wire import CAPABILITIES, model_info

M = TypeVar("M", bound=LoadedModel)


class ModelServicer(ModelServiceServicer):
    """Lists, loads and unloads the models of `registry`; `config` tells the configuration in force."""

    def __init__(self, registry: Registry[M], config: Callable[[], ReloadStatus] = ReloadStatus) -> None:
        self._registry = registry
        self._config = config

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """List models in the order of the configuration."""
        del context
        wanted = request.capability
        if wanted not in {Capability.CAPABILITY_UNSPECIFIED, *CAPABILITIES.values()}:
            raise InvalidRequest([("capability", "has a value that this version does not know")])
        statuses = [
            status
            for status in self._registry.statuses()
            if wanted in {Capability.CAPABILITY_UNSPECIFIED, CAPABILITIES[status.section.capability]}
        ]
        return ListModelsResponse(
            models=[model_info(status) for status in statuses], config=written(self._config(), ConfigStatus())
        )

    async def GetModel(self, request: GetModelRequest, context: Context) -> GetModelResponse:
        """Describe one model."""
        del context
        return GetModelResponse(model=model_info(self._registry.status(request.model)))

    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        """Load a model and return once it answers."""
        del context
        status = await self._registry.load(request.model)
        if status.state is ModelState.FAILED:
            raise ModelFailed(status.name, status.problem)
        return LoadModelResponse(model=model_info(status))

    async def UnloadModel(self, request: UnloadModelRequest, context: Context) -> UnloadModelResponse:
        """Take a model out of memory."""
        del context
        return UnloadModelResponse(model=model_info(await self._registry.unload(request.model)))

    async def CountTokens(self, request: CountTokensRequest, context: Context) -> CountTokensResponse:
        """Count the tokens of texts."""
        name = self._registry.status(request.model).name  # here nothing stands for the only model
        async with self._registry.use(name, deadline_of(context)) as model:
            counts = await model.count_tokens(request.inputs)
            limit = model.max_input_tokens
        return CountTokensResponse(token_counts=counts, max_input_tokens=limit, model=name)
