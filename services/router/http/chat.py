"""`/v1/chat/completions`."""

from __future__ import annotations

import asyncio
from typing import Final

from inglenook.chat.v1 import ChatEvent, ChatResponse, CompleteRequest
from starlette.responses import Response

from services.chassis.errors import CallError, Draining, Reason
from services.router.http.chat_answer import completion, what_it_took, who_answered
from services.router.http.chat_chunks import ChunkWriter
from services.router.http.chat_request import ChatAsk, read_chat
from services.router.http.endpoint import explain, respond
from services.router.http.exchange import Exchange
from services.router.http.sse import DONE, EventStream, event

SERVICE: Final = "/inglenook.chat.v1.ChatService/"


class BrokenOff(CallError):
    """A stream ended well without having come to its end."""

    reason = Reason.UPSTREAM_INTERRUPTED

    def __init__(self) -> None:
        super().__init__("the answer ended without its end; discard it and ask again")


async def chat_completions(exchange: Exchange) -> Response | None:
    """Answer a conversation, whole or as a stream."""
    ask = await exchange.asked(read_chat)
    if not isinstance(ask.request, CompleteRequest):
        await _stream(exchange, ask)
        return None
    outcome = await exchange.call(f"{SERVICE}Complete", ask.request)
    response = ChatResponse.FromString(outcome.content)
    told = who_answered(response.provider, response.upstream_model) | what_it_took(response.finish)
    return respond(completion(response), {**outcome.headers, **told})


async def _stream(exchange: Exchange, ask: ChatAsk) -> None:
    """Stream an answer. Until the stream begins an error is raised, and becomes an HTTP status."""
    writer = ChunkWriter(with_usage=ask.with_usage)

    async def write(content: bytes) -> None:
        chunks = b"".join(event(chunk) for chunk in writer.chunks(ChatEvent.FromString(content)))
        headers = who_answered(writer.start.provider, writer.start.upstream_model)
        if chunks:
            await stream.write(chunks, headers)

    async with EventStream(exchange.send) as stream:
        try:
            await exchange.call(f"{SERVICE}Chat", ask.request, write)
            if not writer.finished:
                raise BrokenOff
        except (Exception, asyncio.CancelledError) as error:
            await stream.rest()
            if not stream.begun:
                raise
            told = Draining() if isinstance(error, asyncio.CancelledError) else error
            await stream.end(event({"error": explain(told, exchange.request.url.path).error}))
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        await stream.end(DONE)
