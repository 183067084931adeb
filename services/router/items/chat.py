"""Answers of chat models, kept whole, where a call asks for that and leaves nothing to chance.

`Chat` and `Complete` are kept apart: one is a list of events, the other a response. What is replayed says so
(`Finish.cached`), and has cost nothing.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    CompleteRequest,
    Finish,
    FinishReason,
)

from services.chassis.errors import DeadlinePassed
from services.router.cache.cache import Cache
from services.router.cache.key import KeySpace
from services.router.cache.metrics import Result as Counted
from services.router.items.call import Call, Reply
from services.router.items.messages import read_request
from services.router.items.mode import Mode, Result

CHAT: Final = "/inglenook.chat.v1.ChatService/Chat"
COMPLETE: Final = "/inglenook.chat.v1.ChatService/Complete"

MAX_BYTES: Final = 1_000_000
"""A longer answer is not kept."""
FLIGHTS: Final = 2
"""As for items (`answering.FLIGHTS`)."""

WHOLE: Final = frozenset({FinishReason.FINISH_REASON_STOP, FinishReason.FINISH_REASON_TOOL_CALLS})
LENGTH: Final = struct.Struct("<I")

Request: TypeAlias = ChatRequest | CompleteRequest

KINDS: Final[dict[str, type[Request]]] = {CHAT: ChatRequest, COMPLETE: CompleteRequest}


def read_deterministic(method: str, content: bytes) -> Request | None:
    """Return a request that leaves nothing to chance; None if it does, or only the backend can read it."""
    request = read_request(KINDS[method], content)
    if request is None:
        return None
    greedy = request.HasField("temperature") and request.temperature == 0
    return request if greedy or request.HasField("seed") else None


def key_of(method: str, request: Request, model: str, told: str) -> bytes:
    """Return what the answer to a request is found by.

    Args:
        method: `CHAT` or `COMPLETE`.
        request: The request. Labels for logs and reports do not count.
        model: Public name of the model that it means.
        told: What the configuration says of the model, its targets above all.
    """
    asked = type(request)()
    asked.CopyFrom(request)  # type: ignore[arg-type]  # of its own type
    asked.ClearField("metadata")
    asked.model = model
    return KeySpace(method, model, (told,)).key(asked.SerializeToString(deterministic=True))


async def find(cache: Cache, key: bytes) -> tuple[bytes, Counted] | None:
    """Return an answer that is kept, and where it was found."""
    (value,) = cache.get_memory([key])
    if value is not None:
        return value, Counted.HIT_MEMORY
    if cache.remote:
        (value,) = await cache.get_many([key])
    return None if value is None else (value, Counted.HIT_REDIS)


async def complete(call: Call, key: bytes) -> Reply:
    """Answer a call of `Complete` from what is kept, or have it computed, once for all who want it now.

    Raises:
        NoBackend: No replica could answer.
        DeadlinePassed: The deadline passed first.
        Relayed: A replica answered with an error.
    """
    flights, metrics = call.cache.flights, call.cache.metrics
    if call.mode.reads and (found := await find(call.cache, key)) and (content := replayed(found[0])):
        metrics.request("chat", found[1])
        return Reply(content, None, Result.HIT)
    for _ in range(FLIGHTS if call.mode is Mode.ON else 0):
        led, awaited = flights.board([key])
        if led:
            try:
                reply, kept = await _compute(call, key)
                flights.land(dict.fromkeys(led, kept))
                return reply
            finally:
                flights.abandon(led)  # what has landed is not touched
        done, _ = await asyncio.wait(awaited.values(), timeout=call.left())
        if not done:
            raise DeadlinePassed
        if (value := done.pop().result()) is not None and (content := replayed(value)):
            metrics.request("chat", Counted.SHARED)
            return Reply(content, None, Result.HIT)
    reply, _ = await _compute(call, key)
    return reply


async def _compute(call: Call, key: bytes) -> tuple[Reply, bytes | None]:
    """Have a call answered; return the answer too as it is kept, if it is."""
    generation = call.cache.generation
    answer = await call.route.unary(call.ask(call.method, call.content))
    call.cache.metrics.request("chat", Counted.MISS)
    kept = answer.content if call.mode.keeps and _is_whole_response(answer.content) else None
    if kept is not None:
        call.cache.put_many([(key, kept)], generation)
    return Reply(answer.content, answer.trailing, Result.MISS), kept


class Recording:
    """The events of a stream while they pass by."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._size = 0

    def add(self, event: bytes) -> None:
        """Note an event. What grows too long is forgotten."""
        self._size += LENGTH.size + len(event)
        if self._size > MAX_BYTES:
            self._events.clear()
        else:
            self._events.append(event)

    def value(self) -> bytes | None:
        """Return the whole answer as it is kept; None if it is not one to keep."""
        if self._size > MAX_BYTES or not self._events:
            return None
        try:
            last = ChatEvent.FromString(self._events[-1])
        except DecodeError:
            return None
        if last.WhichOneof("event") != "finish" or not _is_whole(last.finish):
            return None
        return b"".join([LENGTH.pack(len(event)) + event for event in self._events])


def events_of(value: bytes) -> Sequence[bytes]:
    """Return the events that are kept as `value`, as they are replayed; none if it is no such value."""
    events: list[bytes] = []
    first = 0
    try:
        while first < len(value):
            (length,) = LENGTH.unpack_from(value, first)
            first += LENGTH.size + length
            events.append(value[first - length : first])
        last = ChatEvent.FromString(events[-1])
    except (struct.error, IndexError, DecodeError):
        return ()
    if first != len(value) or last.WhichOneof("event") != "finish":
        return ()
    _mark(last.finish)
    events[-1] = last.SerializeToString()
    return events


def replayed(value: bytes) -> bytes:
    """Return a response that was kept as it is replayed; empty if it is no such value."""
    try:
        response = ChatResponse.FromString(value)
    except DecodeError:
        return b""
    if not response.HasField("finish"):
        return b""
    _mark(response.finish)
    return response.SerializeToString()


def _mark(finish: Finish) -> None:
    finish.cached = True
    finish.cost.nano_usd = 0
    finish.cost.SetInParent()  # 0, and not unknown


def _is_whole_response(content: bytes) -> bool:
    if len(content) > MAX_BYTES:
        return False
    try:
        return _is_whole(ChatResponse.FromString(content).finish)
    except DecodeError:
        return False


def _is_whole(finish: Finish) -> bool:
    """Say whether an answer ended of itself, at the first attempt: another may be of another target."""
    return finish.reason in WHOLE and len(finish.attempts) == 1
