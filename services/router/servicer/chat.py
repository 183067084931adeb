"""`Chat` and `Complete`: passed on as bytes, and kept where a call asks for it and leaves nothing open."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import grpc

from services.chassis.deadline import remaining_seconds
from services.chassis.streams import send
from services.config import Configuration
from services.router.cache.metrics import Result as Counted
from services.router.capabilities import is_safe
from services.router.items import chat
from services.router.items.call import Call, Reply
from services.router.items.mode import Mode, Result, mode_of
from services.router.servicer.delegate import Context, Delegate
from services.router.servicer.items import model_of, tell
from services.router.wiring import Wiring

NO_KEY: Final = b""
PLACE: Final = {"type", "url", "account_id"}
"""Settings of a provider that say who it is; the others decide no answer."""


class ChatServicer(Delegate):
    """Answers the methods of chat."""

    def handler(self, method: str, *, streams: bool) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a handler for `method` (`/package.Service/Method`)."""
        if method == chat.CHAT:
            return grpc.unary_stream_rpc_method_handler(partial(self.chat, method))
        if method == chat.COMPLETE:
            return grpc.unary_unary_rpc_method_handler(partial(self.complete, method))
        return super().handler(method, streams=streams)

    async def complete(self, method: str, content: bytes, context: Context) -> bytes:
        """Answer a call with one response.

        Raises:
            InvalidRequest: It wants something of the cache that there is not.
            NoBackend: No replica could answer.
            DeadlinePassed: The deadline passed first.
            Relayed: A replica answered with an error.
        """
        mode = mode_of(context.invocation_metadata(), Mode.OFF)
        with self._current.use() as wiring:
            call, key = self._read(method, content, mode, wiring, remaining_seconds(context))
            reply = await (chat.complete(call, key) if key else call.pass_on())
        tell(context, reply)
        return reply.content

    async def chat(self, method: str, content: bytes, context: Context) -> None:
        """Answer a call with a stream, written to `context`. Errors are those of `complete`."""
        mode = mode_of(context.invocation_metadata(), Mode.OFF)
        with self._current.use() as wiring:
            call, key = self._read(method, content, mode, wiring, remaining_seconds(context))
            found = await chat.find(call.cache, key) if key and mode.reads else None
            if found is not None and (events := chat.events_of(found[0])):
                for event in events:
                    await send(context, event)
                reply = Reply(b"", None, Result.HIT)
                call.cache.metrics.request(self._capability, found[1])
            else:
                reply = await self._stream(call, key, context)
        tell(context, reply)

    async def _stream(self, call: Call, key: bytes, context: Context) -> Reply:
        """Have a call answered, and keep the answer if there is a key to find it by."""
        recording = chat.Recording() if key and call.mode.keeps else None

        async def write(event: bytes) -> None:
            if recording is not None:
                recording.add(event)
            await send(context, event)

        generation = call.cache.generation
        trailing = await call.route.stream(call.ask(call.method, call.content), write)
        if key:
            call.cache.metrics.request(self._capability, Counted.MISS)
        if recording is not None and (value := recording.value()):
            call.cache.put_many([(key, value)], generation)
        return Reply(b"", trailing, Result.MISS if key else Result.BYPASS)

    def _read(
        self, method: str, content: bytes, mode: Mode, wiring: Wiring, remaining: float | None
    ) -> tuple[Call, bytes]:
        """Return a call, and what its answer is found by; nothing if it is passed on."""
        model, key = "", NO_KEY
        if mode is not Mode.OFF:
            request = chat.read_deterministic(method, content) if wiring.cache.enabled else None
            if request is not None and (model := model_of(wiring.configuration, "chat", request.model)):
                key = chat.key_of(method, request, model, told_of(wiring.configuration, model))
            else:
                wiring.cache.metrics.request(self._capability, Counted.BYPASS)
        call = Call(
            method=method,
            content=content,
            model=model,
            mode=mode,
            until=time.monotonic() + wiring.timeout(remaining),
            safe=is_safe(method),
            route=wiring.routes[self._capability],
            cache=wiring.cache,
            split_inputs=0,
        )
        return call, key


def told_of(configuration: Configuration, model: str) -> str:
    """Return what the configuration says of a chat model: its targets, and where their providers are."""
    section, providers = configuration.models[model], configuration.all_providers()
    names = sorted({target.partition("/")[0] for target in getattr(section, "targets", ())})
    known = [
        f"{name} {providers[name].model_dump_json(include=PLACE)}" for name in names if name in providers
    ]
    return "\n".join([section.model_dump_json(), *known])
