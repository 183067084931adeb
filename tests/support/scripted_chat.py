"""A chat service that says what a test has scripted: real gRPC, in threads of this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    ChatServiceServicer,
    ChatTimings,
    CompleteRequest,
    Cost,
    Delta,
    Finish,
    FinishReason,
    Start,
    ToolCallDelta,
    add_ChatServiceServicer_to_server,
)
from inglenook.common.v1 import Usage

from services.chassis.errors import CallError
from services.chassis.status import explained_status

THREADS = 2
HANG_SECONDS = 30

Script: TypeAlias = Sequence[ChatEvent | CallError | None]
"""What is said to one call: events, an error that ends it, or None: nothing until the caller leaves."""


@dataclass
class ScriptedChat(ChatServiceServicer):
    """Answers calls with its scripts in order, the last one over and over.

    Attributes:
        scripts: What is said.
        requests: The requests that came.
        address: Where it listens.
        left: Set once a caller has left a call that hangs.
    """

    scripts: list[Script] = field(default_factory=list)
    requests: list[ChatRequest] = field(default_factory=list)
    address: str = ""
    left: Event = field(default_factory=Event)

    def Chat(self, request: ChatRequest, context: Any) -> Iterator[ChatEvent]:
        """Answer one call."""
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        for step in script:
            if isinstance(step, CallError):
                status = explained_status(step)
                context.set_trailing_metadata(status.trailing_metadata)
                context.abort(status.code, status.message)
            elif step is None:
                context.add_callback(self.left.set)
                self.left.wait(HANG_SECONDS)
            else:
                yield step

    def Complete(self, request: CompleteRequest, context: Any) -> ChatResponse:
        """Refuse: nothing is scripted for it."""
        raise NotImplementedError


@contextmanager
def scripted_chat() -> Iterator[ScriptedChat]:
    """Run one without scripts."""
    service = ScriptedChat()
    with ThreadPoolExecutor(THREADS) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        add_ChatServiceServicer_to_server(service, server)
        service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield service
        finally:
            server.stop(0).wait()


def begun() -> ChatEvent:
    """Return the event that says who answers."""
    start = Start(response_id="resp_1", model="talker", provider="home", upstream_model="tiny:1b")
    return ChatEvent(start=start)


def piece(part: int = 0, **kind: Any) -> ChatEvent:
    """Return a piece of an answer."""
    return ChatEvent(delta=Delta(part_index=part, **kind))


def call_piece(part: int, **fields: str) -> ChatEvent:
    """Return a piece of a tool call."""
    return piece(part, tool_call=ToolCallDelta(**fields))


def ended(reason: FinishReason.ValueType = FinishReason.FINISH_REASON_STOP, **more: Any) -> ChatEvent:
    """Return the event with which an answer of 5 and 7 tokens ends that cost 0.00123 dollars."""
    known: dict[str, Any] = {
        "usage": Usage(input_tokens=5, output_tokens=7),
        "cost": Cost(nano_usd=1_230_000),
        "timings": ChatTimings(first_token_time=Duration(nanos=250_000_000), total_time=Duration(seconds=2)),
    }
    return ChatEvent(finish=Finish(reason=reason, **{**known, **more}))


def saying(*texts: str) -> Script:
    """Return the script of an answer that is a text in these pieces."""
    return [begun(), *(piece(text=text) for text in texts), ended()]
