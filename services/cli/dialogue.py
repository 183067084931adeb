"""A conversation with a chat model: what was said so far, and the answer while it comes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, Final, TextIO

import grpc
from google.protobuf.message import Message as AnyMessage
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatServiceStub,
    Delta,
    Finish,
    FinishReason,
    Message,
    Part,
    Role,
    Start,
    ToolCall,
)
from rich.markup import escape

from services.cli.client import Client
from services.cli.words import seconds_of, span

UNSHOWN: Final = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Characters that could do things to a terminal."""
DIM: Final = "\x1b[2m"
PLAIN: Final = "\x1b[0m"
NANO: Final = 9
"""Decimal places of a billionth."""
ENDS: Final = {
    FinishReason.FINISH_REASON_LENGTH: "cut off: the longest answer was reached",
    FinishReason.FINISH_REASON_CONTENT_FILTER: "refused by the provider or the model",
}
"""Ends that a person has to know of."""


class StreamingClient(Client):
    """Calls that are answered with a stream."""

    def stream(self, method: Callable[..., Any], request: AnyMessage) -> Generator[Any, None, None]:
        """Make a call and yield its answers; leaving early calls it off.

        Raises:
            CallFailed: It ended with an error.
        """
        call = method(request, timeout=self.timeout_seconds)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._told(error) from None
        finally:
            call.cancel()


class Writer:
    """Writes an answer while it comes: text as it is, and thoughts beside it where a person looks on.

    Args:
        answers: Where text goes. If it is a terminal, nothing in the text can steer it.
        asides: Where thoughts go if it is a terminal, dimmed; else they go nowhere.
        silent: Write nothing.
    """

    def __init__(self, answers: TextIO, asides: TextIO, *, silent: bool = False) -> None:
        self._answers = answers
        self._asides = asides
        self._silent = silent
        self._open: TextIO | None = None

    def write(self, delta: Delta) -> None:
        """Write a piece of an answer, if it is one that is shown while it comes."""
        if self._silent:
            return
        if delta.text:
            shown = harmless(delta.text) if self._answers.isatty() else delta.text
            self._put(self._answers, shown)
        elif delta.reasoning and self._asides.isatty():
            self._put(self._asides, f"{DIM}{harmless(delta.reasoning)}{PLAIN}")

    def end_line(self) -> None:
        """Begin a new line, if one was begun that has no end."""
        if self._open is not None:
            self._open.write("\n")
            self._open.flush()
            self._open = None

    def _put(self, where: TextIO, text: str) -> None:
        if self._open is not where:
            self.end_line()
        where.write(text)
        where.flush()
        self._open = None if text.endswith("\n") else where


class Reply:
    """An answer, put together out of its events.

    Attributes:
        events: All of them, in order.
    """

    def __init__(self) -> None:
        self.events: list[ChatEvent] = []
        self._parts: dict[int, Part] = {}

    def add(self, event: ChatEvent) -> None:
        """Take in the next event."""
        self.events.append(event)
        if not event.HasField("delta"):
            return
        delta = event.delta
        part = self._parts.setdefault(delta.part_index, Part())
        match delta.WhichOneof("kind"):
            case "text":
                part.text += delta.text
            case "reasoning":
                part.reasoning.text += delta.reasoning
            case "tool_call":
                part.tool_call.id += delta.tool_call.id
                part.tool_call.name += delta.tool_call.name
                part.tool_call.arguments += delta.tool_call.arguments
            case "signature":
                if part.WhichOneof("kind") is None:
                    part.reasoning.SetInParent()  # thoughts that the provider keeps to itself
                part.signature.CopyFrom(delta.signature)

    @property
    def message(self) -> Message:
        """The assistant's turn."""
        return Message(role=Role.ROLE_ASSISTANT, parts=[part for _, part in sorted(self._parts.items())])

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tools that the model wants to have called."""
        return [part.tool_call for part in self.message.parts if part.HasField("tool_call")]

    @property
    def start(self) -> Start:
        """Who answered."""
        return next((event.start for event in self.events if event.HasField("start")), Start())

    @property
    def finish(self) -> Finish:
        """How it ended."""
        return next((event.finish for event in self.events if event.HasField("finish")), Finish())


class Dialogue:
    """A conversation that goes on.

    Args:
        client: Makes the calls.
        request: What every call says; its messages are the conversation so far.
        writer: Shows answers while they come.
    """

    def __init__(self, client: StreamingClient, request: ChatRequest, writer: Writer) -> None:
        self._client = client
        self._request = request
        self._writer = writer

    def say(self, *messages: Message) -> Reply:
        """Say something and return the answer. Only what was answered becomes part of the conversation.

        Raises:
            CallFailed: There is no answer, or it broke off.
        """
        request = ChatRequest()
        request.CopyFrom(self._request)
        request.messages.extend(messages)
        reply = Reply()
        try:
            with closing(self._client.stream(ChatServiceStub(self._client.channel).Chat, request)) as events:
                for event in events:
                    reply.add(event)
                    self._writer.write(event.delta)
        finally:
            self._writer.end_line()
        if reply.message.parts:
            self._request.messages.extend([*messages, reply.message])
        return reply


def harmless(text: str) -> str:
    """Return text without what could steer a terminal."""
    return text.translate(UNSHOWN)


def text_message(role: Role.ValueType, text: str) -> Message:
    """Return a turn that is one text."""
    return Message(role=role, parts=[Part(text=text)])


def summary(reply: Reply) -> str:
    """Return one line, as markup, about how an answer came."""
    start, finish = reply.start, reply.finish
    usage, timings = finish.usage, finish.timings
    parts = [escape(start.model), escape(f"{start.provider}/{start.upstream_model}")]
    if usage.HasField("input_tokens") and usage.HasField("output_tokens"):
        parts.append(f"{usage.input_tokens} + {usage.output_tokens} tokens")
    if finish.HasField("cost"):
        parts.append(dollars(finish.cost.nano_usd))
    if timings.HasField("first_token_time"):
        parts.append(f"first token {span(seconds_of(timings.first_token_time))}")
    if timings.HasField("total_time"):
        parts.append(f"total {span(seconds_of(timings.total_time))}")
    if len(finish.attempts) > 1:
        parts.append(f"{len(finish.attempts)} attempts")
    if finish.reason in ENDS:
        parts.append(ENDS[finish.reason])
    return f"[dim]{', '.join(parts)}[/]"


def dollars(nano_usd: int) -> str:
    """Return billionths of a US dollar as `$0.00123`, exact."""
    whole, rest = divmod(nano_usd, 10**NANO)
    digits = f"{rest:0{NANO}}".rstrip("0")
    return f"${whole}.{digits}" if digits else f"${whole}"
