"""A chat service with any configuration, in this process, and everything that it serves over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from inglenook.chat.v1 import ChatEvent, ChatServiceStub, Finish, Message, Part, Role, Start
from inglenook.embed.v1 import EmbedServiceStub
from inglenook.model.v1 import ModelServiceStub

from services.chassis.process import ServiceProcess
from services.chassis.testing import FailedCall, read_failure, running, settings
from services.chat.app import build
from services.config import load

if TYPE_CHECKING:  # these exist for type checkers only
    from inglenook.chat.v1.chat_pb2_grpc import ChatServiceAsyncStub
    from inglenook.embed.v1.embed_pb2_grpc import EmbedServiceAsyncStub
    from inglenook.model.v1.model_pb2_grpc import ModelServiceAsyncStub

LIMIT_SECONDS: Final = 20.0
"""The deadline of calls: only a hang reaches it."""
KEY: Final = "sk-test-9bQ2nothing"
KEY_VARIABLE: Final = "CHAT_STAGE_KEY"
"""Where tests put the key of providers that need one."""
ROUTES: Final = '\n[routes]\nchat = ["chat"]\nembed = ["chat"]\n'
CLOSED: Final = "http://127.0.0.1:1"
"""An address where nobody listens."""


@dataclass(frozen=True)
class ChatStage:
    """A running chat service and stubs for all that it serves."""

    process: ServiceProcess
    chat: ChatServiceAsyncStub
    embed: EmbedServiceAsyncStub
    models: ModelServiceAsyncStub


@asynccontextmanager
async def chat_stage(folder: Path, configuration: str, *, metrics: bool = False) -> AsyncIterator[ChatStage]:
    """Run a chat service with a configuration, to which the routes are added; its file is in `folder`."""
    path = folder / "inglenook.toml"
    path.write_text(configuration + ROUTES, encoding="utf-8")
    file = load(path)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        running(lambda surroundings: build(surroundings, file), settings(metrics=metrics)) as process,
        grpc.aio.insecure_channel(process.address, options=options) as channel,
    ):
        chat: ChatServiceAsyncStub = ChatServiceStub(channel)
        embed: EmbedServiceAsyncStub = EmbedServiceStub(channel)
        models: ModelServiceAsyncStub = ModelServiceStub(channel)
        yield ChatStage(process, chat, embed, models)


async def failure_of(call: Any) -> FailedCall:
    """Return how a call fails; whatever a stream says before that is read."""
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return read_failure(error)
    message = "the call did not fail"
    raise AssertionError(message)


def said(text: str, role: Role.ValueType = Role.ROLE_USER) -> Message:
    """Return a turn that is one text."""
    return Message(role=role, parts=[Part(text=text)])


@dataclass
class Told:
    """What the events of a stream add up to."""

    start: Start = field(default_factory=Start)
    message: Message = field(default_factory=lambda: Message(role=Role.ROLE_ASSISTANT))
    finish: Finish = field(default_factory=Finish)
    events: list[ChatEvent] = field(default_factory=list)


async def told(events: Any) -> Told:
    """Add the events of a stream up, as callers are told to do it."""
    whole = Told()
    async for event in events:
        whole.events.append(event)
        match event.WhichOneof("event"):
            case "start":
                whole.start = event.start
            case "finish":
                whole.finish = event.finish
            case "delta":
                _append(whole.message, event.delta)
    return whole


def _append(message: Message, delta: Any) -> None:
    while len(message.parts) <= delta.part_index:
        message.parts.add()
    part = message.parts[delta.part_index]
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
                part.reasoning.SetInParent()
            part.signature.CopyFrom(delta.signature)


@dataclass
class Silence:
    """A server that takes requests and says nothing.

    Attributes:
        url: Its address.
        heard: Set once something has come.
        left: Set once a client that had asked something has closed its connection.
    """

    url: str = ""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def silent_server() -> AsyncIterator[Silence]:
    """Run a server that says nothing, as long as the block runs."""
    silence = Silence()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                silence.heard.set()
            silence.left.set()
        finally:
            writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    silence.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield silence


def chat_model(name: str, targets: Sequence[str], more: str = "") -> str:
    """Return the section of a chat model."""
    return f'\n[models.{name}]\ncapability = "chat"\ntargets = {_list(targets)}\n{more}\n'


def embed_model(name: str, targets: Sequence[str], more: str = "") -> str:
    """Return the section of an embedding model."""
    return f'\n[models.{name}]\ncapability = "embed"\ntargets = {_list(targets)}\n{more}\n'


def provider(name: str, kind: str, url: str, more: str = "") -> str:
    """Return the section of a provider."""
    return f'\n[providers.{name}]\ntype = "{kind}"\nurl = "{url}"\n{more}\n'


def _list(targets: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{target}"' for target in targets) + "]"
