"""A chat service that is told to stop while answers are under way, as processes of their own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from inglenook.chat.v1 import ChatEvent, ChatRequest
from inglenook.router.v1 import BackendState

from tests.support.chat_cluster import asking, chat_staged
from tests.support.ollama_models import Reply, ServedModel, says
from tests.support.stubs import LIMIT_SECONDS

STREAMS: Final = 8
"""Answers under way."""
MODEL: Final = '[models.assistant]\ncapability = "chat"\ntargets = ["ollama/talker:1b"]\n'
HELD_AFTER: Final = "It is "
ANSWER: Final = "It is warm."


async def test_a_chat_service_that_is_stopped_finishes_what_it_has_begun(tmp_path: Path) -> None:
    """No stream is lost or cut, however far it has come; then the service ends by itself, and well."""
    go_on = asyncio.Event()
    words = says("It ", "is ", "warm.").lines
    talker = ServedModel("talker:1b", lambda _: Reply(words, hold_after=2, go_on=go_on))
    async with chat_staged(tmp_path, MODEL, talker) as stage:
        request = ChatRequest(**asking("assistant"))
        streams = [aiter(stage.chat.Chat(request, timeout=LIMIT_SECONDS)) for _ in range(STREAMS)]
        begun = await asyncio.gather(*(read_up_to(stream, HELD_AFTER) for stream in streams))
        (chat,) = stage.replicas_of("chat")
        ending = asyncio.create_task(stage.end(chat, signal.SIGTERM))
        await stage.until_backend(chat.listen, BackendState.BACKEND_STATE_NOT_SERVING)
        go_on.set()
        rests = await asyncio.gather(*(read_up_to(stream) for stream in streams))
        assert await ending == 0
    answers = [first + rest for first, rest in zip(begun, rests, strict=True)]
    assert [text_of(events) for events in answers] == [ANSWER] * STREAMS
    assert all(events[-1].HasField("finish") for events in answers)


async def read_up_to(stream: AsyncIterator[ChatEvent], text: str | None = None) -> list[ChatEvent]:
    """Read events until their text is this; without one, all of them."""
    events: list[ChatEvent] = []
    async for event in stream:
        events.append(event)
        if text_of(events) == text:
            break
    return events


def text_of(events: list[ChatEvent]) -> str:
    """Return the text of an answer."""
    return "".join(event.delta.text for event in events)
