"""`ModelService` over models that providers run: the file's, and what local providers have besides."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, TypeAlias

import grpc
from inglenook.common.v1 import Capability, ModelInfo
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
from services.chat.errors import NotSupported
from services.chat.models import Models, Served, UnknownModel, is_model_name
from services.chat.providers.failure import Failure
from services.chat.providers.provider import Provider
from services.chat.servicer.infos import CHECK_SECONDS, model_info
from services.config import ChatModel, RemoteEmbedModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CHAT: Final = frozenset({Capability.CAPABILITY_UNSPECIFIED, Capability.CAPABILITY_CHAT})
EMBED: Final = frozenset({Capability.CAPABILITY_UNSPECIFIED, Capability.CAPABILITY_EMBED})

log: Final = logging.getLogger(__name__)


class ModelServicer(ModelServiceServicer):
    """Lists and describes models. Providers keep them in memory or not as they see fit."""

    def __init__(self, models: Models, *, paid: bool) -> None:
        self._models = models
        self._paid = paid

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """List the models of the file in its order, then what providers have besides."""
        del context
        if request.capability not in Capability.values():
            raise InvalidRequest([("capability", "has a value that this version does not know")])
        of_file = [
            served
            for served in self._models.in_order
            if request.capability in (CHAT if isinstance(served.section, ChatModel) else EMBED)
        ]
        named = asyncio.gather(*(self._info(served) for served in of_file))
        if request.capability in CHAT:
            infos, others = await asyncio.gather(named, self._discovered())
            return ListModelsResponse(models=[*infos, *others])
        return ListModelsResponse(models=await named)

    async def GetModel(self, request: GetModelRequest, context: Context) -> GetModelResponse:
        """Describe one model."""
        del context
        return GetModelResponse(model=await self._describe(request.model))

    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        """Describe a model: there is nothing to load here, its provider does that when it is called."""
        del context
        return LoadModelResponse(model=await self._describe(request.model))

    async def UnloadModel(self, request: UnloadModelRequest, context: Context) -> UnloadModelResponse:
        """Describe a model: there is nothing to unload here."""
        del context
        return UnloadModelResponse(model=await self._describe(request.model))

    async def CountTokens(self, request: CountTokensRequest, context: Context) -> CountTokensResponse:
        """Refuse: what a provider's tokenizer does is not known here, and nothing is guessed."""
        del context
        served = await self._find(request.model)
        problem = "is run by a provider, whose tokenizer is not known here"
        message = f"{served.name} {problem}"
        raise NotSupported(message, violations=[("model", problem)])

    async def _describe(self, name: str) -> ModelInfo:
        return await self._info(await self._find(name))

    async def _find(self, name: str) -> Served[ChatModel] | Served[RemoteEmbedModel]:
        if not name:
            raise UnknownModel(self._models.chat)  # here nothing stands for the only model
        if name in self._models.embed:
            return self._models.embed[name]
        return await self._models.chat_model(name)

    async def _info(self, served: Served[ChatModel] | Served[RemoteEmbedModel]) -> ModelInfo:
        return await model_info(served, paid=self._paid)

    async def _discovered(self) -> list[ModelInfo]:
        """Return what providers have and the file does not name. One that does not answer has nothing."""
        named = {target.name for target in self._models.targets}
        found = await asyncio.gather(*(self._ask(provider) for provider in self._models.discoverable()))
        others = [one for several in found for one in several if one.targets[0].name not in named]
        infos = (model_info(one, paid=self._paid, seconds=CHECK_SECONDS / 2) for one in others)
        return await asyncio.gather(*infos)

    async def _ask(self, provider: Provider) -> list[Served[ChatModel]]:
        try:
            async with asyncio.timeout(CHECK_SECONDS / 2):
                models = await provider.models()
        except (Failure, TimeoutError) as error:
            log.debug("models not listed", extra={"provider": provider.name, "error": type(error).__name__})
            return []
        return [
            self._models.discovered(provider, model.name)
            for model in models
            if model.facts.chat is not False and is_model_name(model.name)
        ]
