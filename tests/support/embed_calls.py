"""Calls for embeddings, and a service with two targets for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from inglenook.embed.v1 import EmbedRequest, EmbedResponse

from services.chassis.testing import FailedCall
from tests.support.chat_stage import (
    LIMIT_SECONDS,
    ChatStage,
    embed_model,
    failure_of,
    provider,
)

LOCAL: Final = 'tier = "local"'
NO_WAIT: Final = "[chat]\nmax_retries = 0\n"


async def embedded(stage: ChatStage, inputs: Sequence[str], **fields: Any) -> EmbedResponse:
    """Return the response to a request."""
    return await stage.embed.Embed(EmbedRequest(inputs=inputs, **fields), timeout=LIMIT_SECONDS)


async def refused(stage: ChatStage, inputs: Sequence[str], **fields: Any) -> FailedCall:
    """Return how a request fails."""
    request = EmbedRequest(inputs=inputs, **fields)
    return await failure_of(stage.embed.Embed(request, timeout=LIMIT_SECONDS))


def floats(response: EmbedResponse) -> list[list[float]]:
    """Return the components of a response."""
    return [list(one.values) for one in response.embeddings]


def two(first: str, second: str, more: str = "", model: str = "") -> str:
    """Return a configuration of a model with two OpenAI-compatible targets."""
    return (
        embed_model("vec", ["first/m", "second/m"], model)
        + provider("first", "openai-compatible", first, LOCAL)
        + provider("second", "openai-compatible", second, LOCAL)
        + (more or NO_WAIT)
    )
