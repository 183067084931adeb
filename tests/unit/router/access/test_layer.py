from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.chassis.local import LocalContext
from services.chassis.pipeline.layer import Behavior, Context, Method
from services.config import Access, Key, hash_of, new_key
from services.router.access.errors import TooManyAtOnce, Unauthenticated
from services.router.access.gate import Gate
from services.router.access.layer import AccessLayer

KEY = new_key()
CHAT = Method("/inglenook.chat.v1.ChatService/Chat", streams=True, deserialize=bytes)
ONE_AT_A_TIME = Access(keys={"a": Key(hash=hash_of(KEY), max_concurrent_calls=1)}, required=True)


def _context(key: str | None) -> Any:
    metadata = (("x-api-key", key),) if key is not None else ()
    return LocalContext(60.0, metadata)


def _behind(access: Access, inner: Behavior) -> Behavior:
    return AccessLayer(Gate(access, CollectorRegistry(), reachable=True)).wrap(CHAT, inner)


async def test_stream_is_in_flight_until_it_ends_or_its_caller_leaves() -> None:
    """Another call of a key that may have one is refused meanwhile, and let in afterwards."""
    begun = asyncio.Event()

    async def inner(request: bytes, context: Context) -> None:
        del request, context
        begun.set()
        await asyncio.Event().wait()

    behavior = _behind(ONE_AT_A_TIME, inner)
    for _ in range(2):
        begun.clear()
        call = asyncio.ensure_future(behavior(b"", _context(KEY)))
        await begun.wait()
        with pytest.raises(TooManyAtOnce):
            await behavior(b"", _context(KEY))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_refused_call_does_not_begin() -> None:
    """Not even its request is parsed: the layers inside do that."""
    asked = []

    async def inner(request: bytes, context: Context) -> bytes:
        del context
        asked.append(request)
        return b""

    with pytest.raises(Unauthenticated):
        await _behind(ONE_AT_A_TIME, inner)(b"\xff", _context(None))
    assert asked == []
    await _behind(ONE_AT_A_TIME, inner)(b"\xff", _context(KEY))
    await _behind(Access(), inner)(b"\xff", _context(None))
    assert asked == [b"\xff", b"\xff"]
