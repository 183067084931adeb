"""`ModelService` over models that providers run: the file's, and what local providers have besides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import grpc
from inglenook.common.v1 import Capability, ConfigStatus, ModelInfo
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
from services.chassis.listing import is_brief
from services.chassis.reload import ReloadStatus, written
from services.chat.errors import NotSupported
from services.chat.models import Served, UnknownModel, is_model_name
from services.chat.providers.failure import Failure
from services.chat.providers.provider import Provider
from services.chat.servicer.infos import CHECK_SECONDS, model_info
from services.chat.wiring import Current, Wiring
from services.config import ChatModel, RemoteEmbedModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CHAT: Final = frozenset({Capability.CAPABILITY_UNSPECIFIED, Capability.CAPABILITY_CHAT})
EMBED: Final = frozenset({Capability.CAPABILITY_UNSPECIFIED, Capability.CAPABILITY_EMBED})

log: Final = logging.getLogger(__name__)


class ModelServicer(ModelServiceServicer):
    """Lists and describes models. Providers keep them in memory or not as they see fit.

    Args:
        current: What is in force.
        config: Tells the configuration in force.
    """

    def __init__(self, current: Current, config: Callable[[], ReloadStatus]) -> None:
        self._current = current
        self._config = config

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """List the models of the file in its order, then what providers have besides."""
        if request.capability not in Capability.values():
            raise InvalidRequest([("capability", "has a value that this version does not know")])
        with self._current.use() as wiring:
            asks = not is_brief(context.invocation_metadata())
            infos = await _Catalogue(wiring, asks=asks).infos(request.capability)
            return ListModelsResponse(models=infos, config=written(self._config(), ConfigStatus()))

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
        with self._current.use() as wiring:
            served = await _Catalogue(wiring).find(request.model)
        problem = "is run by a provider, whose tokenizer is not known here"
        message = f"{served.name} {problem}"
        raise NotSupported(message, violations=[("model", problem)])

    async def _describe(self, name: str) -> ModelInfo:
        with self._current.use() as wiring:
            catalogue = _Catalogue(wiring)
            return await catalogue.info(await catalogue.find(name))


class _Catalogue:
    """The models of what is in force.

    Args:
        wiring: It.
        asks: Providers are asked how their models are, and which others they have.
    """

    def __init__(self, wiring: Wiring, *, asks: bool = True) -> None:
        self._models = wiring.models
        self._paid = wiring.paid
        self._asks = asks

    async def infos(self, capability: int) -> list[ModelInfo]:
        """Describe the models for a capability, or all."""
        of_file = [
            served
            for served in self._models.in_order
            if capability in (CHAT if isinstance(served.section, ChatModel) else EMBED)
        ]
        named = asyncio.gather(*(self.info(served) for served in of_file))
        if capability in CHAT and self._asks:
            infos, others = await asyncio.gather(named, self._discovered())
            return [*infos, *others]
        return await named

    async def find(self, name: str) -> Served[ChatModel] | Served[RemoteEmbedModel]:
        """Return the model of that name; errors as for calls."""
        if not name:
            raise UnknownModel(self._models.chat)  # here nothing stands for the only model
        if name in self._models.embed:
            return self._models.embed[name]
        return await self._models.chat_model(name)

    async def info(self, served: Served[ChatModel] | Served[RemoteEmbedModel]) -> ModelInfo:
        """Describe a model."""
        return await model_info(served, paid=self._paid, seconds=CHECK_SECONDS if self._asks else None)

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
