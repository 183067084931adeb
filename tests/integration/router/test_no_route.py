"""Capabilities that the configuration routes nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from inglenook.model.v1 import LoadModelRequest, UnloadModelRequest

from services.router.capabilities import SERVICES
from tests.support.routing import failed, routed
from tests.support.stubs import LIMIT_SECONDS

METHODS = [(capability, method) for capability, service in SERVICES.items() for method in service.methods]
MODEL = '[models.m]\ncapability = "embed"\nsource = "dir:m"\n'


@pytest.mark.parametrize(("capability", "method"), METHODS, ids=lambda value: getattr(value, "name", value))
async def test_a_capability_without_a_route_says_so(
    tmp_path: Path, capability: str, method: MethodDescriptor
) -> None:
    """Every method of it, unary or streaming, fails at once with NO_BACKEND and says what to add."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with routed(tmp_path, {}) as router:
        ask = router.raw_stream if method.server_streaming else router.raw
        told = await failed(ask(path)(b""))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
    assert told.metadata == {"capability": capability}
    assert "[routes]" in told.message


@pytest.mark.parametrize(
    ("name", "request_type"), [("LoadModel", LoadModelRequest), ("UnloadModel", UnloadModelRequest)]
)
async def test_a_model_without_a_route_cannot_be_loaded_or_unloaded(
    tmp_path: Path, name: str, request_type: Any
) -> None:
    """The reason is the missing route, not a replica that could not be reached."""
    async with routed(tmp_path, {}, more=MODEL) as router:
        call = getattr(router.models, name)
        told = await failed(call(request_type(model="m"), timeout=LIMIT_SECONDS))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
    assert "[routes]" in told.message
