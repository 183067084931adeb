"""Models that an Ollama of a test has, and what callers of the chat service are told of them."""

from __future__ import annotations

from typing import Final

from inglenook.chat.v1 import CompleteRequest
from inglenook.common.v1 import Capability, ModelInfo
from inglenook.model.v1 import ListModelsRequest

from tests.support.chat_stage import ChatStage, failure_of, said
from tests.support.ollama_models import ServedModel, says

GEMMA: Final = ServedModel("gemma3n:e2b", says("Hello"), context_length=32768)
LLAVA: Final = ServedModel("llava:latest", says("A cat."), ("completion", "vision"), 4096)
NOMIC: Final = ServedModel("nomic-embed-text:latest", capabilities=("embedding",), context_length=2048)


async def listed(
    stage: ChatStage, capability: Capability.ValueType = Capability.CAPABILITY_UNSPECIFIED
) -> dict[str, ModelInfo]:
    """Return the models that are listed, by name and in order."""
    response = await stage.models.ListModels(ListModelsRequest(capability=capability))
    return {model.name: model for model in response.models}


async def asked(stage: ChatStage, name: str) -> str:
    """Return what a model answers."""
    response = await stage.chat.Complete(CompleteRequest(model=name, messages=[said("Hi")]))
    return response.message.parts[0].text


async def refused(stage: ChatStage, name: str) -> str:
    """Return the reason why a model cannot be asked."""
    request = CompleteRequest(model=name, messages=[said("Hi")])
    return (await failure_of(stage.chat.Complete(request))).reason
