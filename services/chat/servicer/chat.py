"""`ChatService`: the wire in, the wire out, nothing else."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeAlias

import grpc
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    ChatServiceServicer,
    CompleteRequest,
)

from services.chassis.deadline import remaining_seconds
from services.chat.answering.attempts import Answering
from services.chat.answering.call import Call
from services.chat.answering.steps import Finished, Step
from services.chat.conversation import Conversation
from services.chat.metrics import ChatMetrics
from services.chat.models import Models, Served
from services.chat.providers.exchange import Timers
from services.chat.servicer.events import EventWriter, ResponseWriter
from services.chat.servicer.requests import Request, read_conversation
from services.chat.wiring import Current
from services.config import ChatModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

log: Final = logging.getLogger(__name__)


class ChatServicer(ChatServiceServicer):
    """Answers Chat and Complete with what is in force when a call begins."""

    def __init__(self, current: Current, metrics: ChatMetrics) -> None:
        self._current = current
        self._metrics = metrics

    async def Chat(self, request: ChatRequest, context: Context) -> AsyncIterator[ChatEvent]:
        """Answer as a stream of events."""
        with self._current.use() as wiring:
            model, call = await _call(wiring.models, request, context, hold=False)
            writer = EventWriter(call.response_id, model.name)
            async with aclosing(self._answer(wiring.answering, call, request)) as answer:
                async for steps in answer:
                    for event in writer.events(steps):
                        yield event

    async def Complete(self, request: CompleteRequest, context: Context) -> ChatResponse:
        """Answer in one piece."""
        with self._current.use() as wiring:
            model, call = await _call(wiring.models, request, context, hold=True)
            writer = ResponseWriter(call.response_id, model.name)
            async with aclosing(self._answer(wiring.answering, call, request)) as answer:
                async for steps in answer:
                    writer.add(steps)
        return writer.response()

    async def _answer(
        self, answering: Answering, call: Call, request: Request
    ) -> AsyncGenerator[list[Step], None]:
        async with aclosing(answering.answer(call)) as answer:
            async for steps in answer:
                if isinstance(last := steps[-1], Finished):
                    self._metrics.finished(last)
                    if request.metadata or log.isEnabledFor(logging.DEBUG):  # a line costs a tenth of a call
                        log.info("answered", extra=_account(call, last, request))
                yield steps


async def _call(
    models: Models, request: Request, context: Context, *, hold: bool
) -> tuple[Served[ChatModel], Call]:
    conversation = await _read(request)
    model = await models.chat_model(request.model)
    section = model.section
    if conversation.max_output_tokens is None:
        conversation = replace(conversation, max_output_tokens=section.max_output_tokens)
    if conversation.effort is None:
        conversation = replace(conversation, effort=section.reasoning)
    remaining = remaining_seconds(context)
    deadline = None if remaining is None else asyncio.get_running_loop().time() + remaining
    return model, Call(
        response_id=f"resp_{secrets.token_hex(12)}",
        targets=model.targets,
        conversation=conversation,
        timers=Timers(section.first_token_timeout_seconds, section.idle_timeout_seconds),
        total_seconds=section.total_timeout_seconds,
        deadline=deadline,
        weights=section.weights,
        hold=hold,
        context_length=section.context_length,
    )


async def _read(request: Request) -> Conversation:
    """Read a request; elsewhere if it has schemas: checking one takes 2 ms, and there may be many."""
    if request.tools or request.response_format.HasField("json_schema"):
        return await asyncio.to_thread(read_conversation, request)
    return read_conversation(request)


def _account(call: Call, finished: Finished, request: Request) -> dict[str, object]:
    """Return what the log says of an answer: who gave it, what it used and cost, and the caller's labels."""
    answered = finished.attempts[-1]
    return {
        "response_id": call.response_id,
        "target": f"{answered.provider}/{answered.upstream_model}",
        "attempts": len(finished.attempts),
        "input_tokens": finished.usage.input_tokens,
        "output_tokens": finished.usage.output_tokens,
        "cost_nano_usd": finished.cost_nano_usd,
        "seconds": round(finished.total_seconds, 3),
        "labels": dict(request.metadata),
    }
