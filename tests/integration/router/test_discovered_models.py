"""`ModelService` of the router for models that its file does not name and a provider has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.common.v1 import Capability, ModelInfo, ModelState
from inglenook.model.v1 import (
    CountTokensRequest,
    CountTokensResponse,
    GetModelRequest,
    GetModelResponse,
    LoadModelRequest,
    LoadModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)

from tests.support.backend import SERVED_BY, Answer, FakeBackend, refuse, serving
from tests.support.configuration import free_addresses
from tests.support.routing import Routed, failed, routed
from tests.support.stubs import LIMIT_SECONDS

TALKER = '[models.talker]\ncapability = "chat"\ntargets = ["ollama/x"]\n'
FOUND = ModelInfo(
    name="ollama/found:1b", capability=Capability.CAPABILITY_CHAT, state=ModelState.MODEL_STATE_READY
)
ABOUT = [
    ("GetModel", GetModelRequest, GetModelResponse(model=FOUND)),
    ("LoadModel", LoadModelRequest, LoadModelResponse(model=FOUND)),
    ("UnloadModel", UnloadModelRequest, UnloadModelResponse(model=FOUND)),
    ("CountTokens", CountTokensRequest, CountTokensResponse(model=FOUND.name, token_counts=[3])),
]


@asynccontextmanager
async def fronted(folder: Path, answer: Answer) -> AsyncIterator[tuple[Routed, FakeBackend]]:
    """Run a router in front of a chat service that gives one answer to everything."""
    async with (
        serving(FakeBackend(unary=answer)) as backend,
        routed(folder, {"chat": [backend.address]}, more=TALKER) as router,
    ):
        yield router, backend


@pytest.mark.parametrize(("method", "request_type", "response"), ABOUT, ids=[name for name, *_ in ABOUT])
async def test_a_model_that_a_provider_has_besides_is_asked_about_at_the_chat_service(
    tmp_path: Path, method: str, request_type: Any, response: Any
) -> None:
    """The router's file does not name it, and need not: whoever would answer for it knows."""

    async def tell(content: bytes, context: Any) -> bytes:
        del context
        assert request_type.FromString(content).model == FOUND.name
        return bytes(response.SerializeToString())

    async with fronted(tmp_path, tell) as (router, backend):
        request = request_type(model=FOUND.name)
        told = await getattr(router.models, method)(request, timeout=LIMIT_SECONDS)
    assert told == response
    assert backend.methods == [f"/inglenook.model.v1.ModelService/{method}"]


@pytest.mark.parametrize(
    ("method", "request_type"), [one[:2] for one in ABOUT], ids=[one[0] for one in ABOUT]
)
async def test_what_the_chat_service_says_of_a_model_that_it_does_not_know_is_passed_on(
    tmp_path: Path, method: str, request_type: Any
) -> None:
    """Its answer names the models that it has, which the router cannot; other names never get there."""

    async def unknown(content: bytes, context: Any) -> bytes:
        await refuse(context, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        return content

    async with fronted(tmp_path, unknown) as (router, backend):
        ask = getattr(router.models, method)
        there = await failed(ask(request_type(model="ollama/nothing"), timeout=LIMIT_SECONDS))
        here = await failed(ask(request_type(model="nothing"), timeout=LIMIT_SECONDS))
    assert (there.code, there.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert (there.message, there.trailing["inglenook-served-by"]) == ("because of MODEL_NOT_FOUND", SERVED_BY)
    assert (here.code, here.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert here.metadata == {"models": "talker"}
    assert len(backend.methods) == 1


async def test_without_a_chat_route_no_provider_has_models(tmp_path: Path) -> None:
    """A name with a slash is then as unknown as any other; with one that leads nowhere, that is said."""
    request = GetModelRequest(model="ollama/x")
    async with routed(tmp_path, {}, more=TALKER.replace("chat", "embed")) as router:
        unknown = await failed(router.models.GetModel(request, timeout=LIMIT_SECONDS))
    (nobody,) = free_addresses(1)
    async with routed(tmp_path, {"chat": [nobody]}, more=TALKER) as router:
        unheard = await failed(router.models.GetModel(request, timeout=LIMIT_SECONDS))
    assert (unknown.reason, unknown.metadata) == ("MODEL_NOT_FOUND", {"models": "talker"})
    assert unheard.reason == "NO_BACKEND"
