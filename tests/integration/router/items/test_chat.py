"""Answers of chat models through a real router, in front of a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from inglenook.chat.v1 import (
    Attempt,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    CompleteRequest,
    Delta,
    Finish,
    FinishReason,
    Message,
    Role,
    Start,
)

from tests.support.backend import Context, FakeBackend, serving
from tests.support.routing import routed
from tests.support.stubs import LIMIT_SECONDS

MODEL = '[models.m]\ncapability = "chat"\ntargets = ["p/u"]\n[providers.p]\ntype = "ollama"\n'
ON = (("inglenook-cache", "on"),)
ANSWER = Finish(reason=FinishReason.FINISH_REASON_STOP, attempts=[Attempt(provider="p", upstream_model="u")])
TURN = [Message(role=Role.ROLE_USER)]


async def respond(content: bytes, context: Context) -> bytes:
    """Answer Complete."""
    del content, context
    return ChatResponse(response_id="r", model="m", finish=ANSWER).SerializeToString()


async def stream(content: bytes, context: Context) -> AsyncIterator[bytes]:
    """Answer Chat."""
    del content, context
    yield ChatEvent(start=Start(response_id="r")).SerializeToString()
    yield ChatEvent(delta=Delta(text="hello")).SerializeToString()
    yield ChatEvent(finish=ANSWER).SerializeToString()


async def result_of(call: Any) -> str:
    """Return what the cache was to a call."""
    return str(dict(await call.trailing_metadata())["inglenook-cache"])


async def test_answers_are_replayed_to_unmodified_stubs(tmp_path: Path) -> None:
    """As a response and as a stream, once each was computed, to callers who ask for that."""
    async with (
        serving(FakeBackend(unary=respond, stream=stream)) as fake,
        routed(tmp_path, {"chat": [fake.address]}, more=MODEL) as router,
    ):
        found = []
        for _ in range(2):
            complete: Any = router.chat.Complete(
                CompleteRequest(messages=TURN, temperature=0), timeout=LIMIT_SECONDS, metadata=ON
            )
            response = await complete
            found.append((response.finish.cached, await result_of(complete)))
            chat: Any = router.chat.Chat(
                ChatRequest(messages=TURN, seed=5), timeout=LIMIT_SECONDS, metadata=ON
            )
            events = [event async for event in chat]
            assert [event.WhichOneof("event") for event in events] == ["start", "delta", "finish"]
            found.append((events[-1].finish.cached, await result_of(chat)))
        plain: Any = router.chat.Complete(
            CompleteRequest(messages=TURN, temperature=0), timeout=LIMIT_SECONDS
        )
        assert not (await plain).finish.cached
        assert await result_of(plain) == "bypass"
    assert found == [(False, "miss"), (False, "miss"), (True, "hit"), (True, "hit")]
    assert len(fake.methods) == 3
