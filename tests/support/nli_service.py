"""NLI services inside the test's event loop, over real tiny models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair

from services.chassis.testing import FailedCall, read_failure
from services.nli.app import build
from tests.support.engines import SETTINGS, Engine, serving
from tests.support.stubs import LIMIT_SECONDS

SERVICE = "inglenook.nli.v1.NliService"


def nli_section(name: str, folder: Path, more: str = "") -> str:
    """Return the TOML of an NLI model in `folder`."""
    return f'[models.{name}]\ncapability = "nli"\nsource = "dir:{folder}"\n{more}\n'


@asynccontextmanager
async def judging_service(
    folder: Path, models: str, *, more: str = "", serves: bool = True
) -> AsyncIterator[Engine]:
    """Run an nli service with these models; `serves` waits until it says SERVING."""
    async with serving(build, folder, models + SETTINGS + more, SERVICE if serves else None) as engine:
        yield engine


def infer_request(pairs: Iterable[tuple[str, str]], model: str = "tiny", **options: Any) -> InferRequest:
    """Return a request about pairs of premise and hypothesis."""
    made = [Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in pairs]
    return InferRequest(model=model, pairs=made, **options)


async def refused(engine: Engine, request: InferRequest | ClassifyRequest) -> FailedCall:
    """Return how a call fails."""
    method: Any = engine.nli.Infer if isinstance(request, InferRequest) else engine.nli.Classify
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await method(request, timeout=LIMIT_SECONDS)
    return read_failure(raised.value)
