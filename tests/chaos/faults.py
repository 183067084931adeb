"""What is done to a cluster, and undone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.cluster import Hurt
from tests.support.ollama_models import ServedModel, refuses


@asynccontextmanager
async def killed(hurt: Hurt, seconds: float, *names: str) -> AsyncIterator[None]:
    """SIGKILL, and a start after a while."""
    for name in names:
        hurt.programs[name].signal(signal.SIGKILL)
        await hurt.programs[name].exit_code()
    await asyncio.sleep(seconds)
    for name in names:
        hurt.programs[name].start()
    yield


@asynccontextmanager
async def frozen(hurt: Hurt, seconds: float, *names: str) -> AsyncIterator[None]:
    """SIGSTOP, and SIGCONT after a while."""
    for name in names:
        hurt.programs[name].signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for name in names:
            hurt.programs[name].signal(signal.SIGCONT)
    yield


@asynccontextmanager
async def stopped(hurt: Hurt, seconds: float, *names: str) -> AsyncIterator[None]:
    """SIGTERM, and a start once it has left by itself."""
    for name in names:
        hurt.programs[name].signal(signal.SIGTERM)
    codes = [await hurt.programs[name].exit_code() for name in names]
    assert codes == [0] * len(names), f"exit codes {codes}"
    await asyncio.sleep(seconds / 2)
    for name in names:
        hurt.programs[name].start()
    yield


@asynccontextmanager
async def misbehaving(hurt: Hurt, seconds: float, mode: str, *names: str) -> AsyncIterator[None]:
    """Tell hash backends to be slow, to fail, or to answer nonsense."""
    for name in names:
        hurt.programs[name].control.write_text(mode, encoding="utf-8")
    try:
        await asyncio.sleep(seconds)
    finally:
        for name in names:
            hurt.programs[name].control.unlink()
    yield


@asynccontextmanager
async def speechless(hurt: Hurt, seconds: float) -> AsyncIterator[None]:
    """Let the Ollama refuse every question."""
    talker = hurt.talker
    hurt.ollama.models[talker.name] = ServedModel(talker.name, refuses(500, "out of memory"))
    try:
        await asyncio.sleep(seconds)
    finally:
        hurt.ollama.models[talker.name] = talker
    yield
