"""A chat service in front of stand-ins: a first target, one to fall back to, and one that costs money."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    ChatServiceStub,
    CompleteRequest,
    Finish,
    FinishReason,
    Message,
    Part,
    Role,
)
from prometheus_client import CollectorRegistry

from services.chassis.process import Application, ProcessSettings, ServiceProcess, Surroundings
from services.chassis.testing import FailedCall, read_failure, running, settings
from services.chat.app import build
from services.config import load
from tests.support.fault_exchange import KEY, KEY_VARIABLE, QUESTION
from tests.support.fault_server import FaultServer, Scripts, serving
from tests.support.fault_speech import OpenAiSpeech

if TYPE_CHECKING:
    from inglenook.chat.v1.chat_pb2_grpc import ChatServiceAsyncStub  # exists for type checkers only

SPARE_MODEL: Final = "spare-model"
"""The model at the second target, so that who answered can be told."""

LIMIT_SECONDS: Final = 20.0
"""The deadline of calls: only a hang reaches it."""

TEMPLATE: Final = """
[models.assistant]
capability = "chat"
targets = ["primary/{model}", "fallback/{spare}", "paid/gpt-4o-mini"]
first_token_timeout_seconds = {first_token}
idle_timeout_seconds = {idle}
{more_model}

[models.alone]
capability = "chat"
targets = ["primary/{model}"]
first_token_timeout_seconds = {first_token}
idle_timeout_seconds = {idle}

[models.spare]
capability = "chat"
targets = ["fallback/{spare}"]

[providers.primary]
{primary}
tier = "local"
api_key = "env:{key}"
{more_provider}

[providers.fallback]
type = "openai-compatible"
url = "{fallback}"
tier = "local"

[providers.paid]
type = "openai"
url = "{paid}"
api_key = "env:{key}"
tier = "standard"

[chat]
backoff_seconds = {backoff}
{more_chat}

[paid]
ledger = "spending.sqlite3"

[routes]
chat = ["chat"]
"""


@dataclass(frozen=True)
class Plot:
    """What differs between tests.

    Attributes:
        primary, fallback: What the two local stand-ins do.
        kind: What the first target speaks: `openai-compatible` or `ollama`.
        url: Address of the first target instead of the stand-in's.
        first_token, idle: Timers of the first model, in seconds.
        backoff: Longest first back-off, in seconds.
        chat, model, provider: TOML for `[chat]`, the first model and the first provider.
    """

    primary: Scripts
    fallback: Scripts = ()
    kind: str = "openai-compatible"
    url: str = ""
    first_token: float = 10.0
    idle: float = 10.0
    backoff: float = 0.05
    chat: str = ""
    model: str = ""
    provider: str = ""


@dataclass(frozen=True)
class Stage:
    """A running chat service and the stand-ins behind it."""

    process: ServiceProcess
    registry: CollectorRegistry
    stub: ChatServiceAsyncStub
    primary: FaultServer
    fallback: FaultServer
    paid: FaultServer

    @property
    def in_flight(self) -> int:
        """How many calls the service handles now."""
        samples = (sample for family in self.registry.collect() for sample in family.samples)
        return round(sum(one.value for one in samples if one.name == "inglenook_calls_in_flight"))


@asynccontextmanager
async def staged(folder: Path, plot: Plot, chosen: ProcessSettings | None = None) -> AsyncIterator[Stage]:
    """Run a chat service and the stand-ins of a plot; whatever happens, nothing paid may be asked."""
    os.environ[KEY_VARIABLE] = KEY
    async with (
        serving(plot.primary) as primary,
        serving(plot.fallback) as fallback,
        serving([()]) as paid,
    ):
        path = folder / "inglenook.toml"
        path.write_text(_configuration(plot, primary, fallback, paid), encoding="utf-8")
        file = load(path)
        options = [("grpc.use_local_subchannel_pool", 1)]
        registries: list[CollectorRegistry] = []

        def make(surroundings: Surroundings) -> Application:
            registries.append(surroundings.registry)
            return build(surroundings, file)

        async with (
            running(make, chosen or settings()) as process,
            grpc.aio.insecure_channel(process.address, options=options) as channel,
        ):
            stub: ChatServiceAsyncStub = ChatServiceStub(channel)
            yield Stage(process, registries[0], stub, primary, fallback, paid)
        assert (paid.received, paid.asked, paid.connections) == ([], [], 0)


def _configuration(plot: Plot, primary: FaultServer, fallback: FaultServer, paid: FaultServer) -> str:
    url = plot.url or (primary.url if plot.kind == "ollama" else primary.openai_url)
    return TEMPLATE.format(
        model=OpenAiSpeech.model,
        spare=SPARE_MODEL,
        first_token=plot.first_token,
        idle=plot.idle,
        backoff=plot.backoff,
        primary=f'type = "{plot.kind}"\nurl = "{url}"',
        fallback=fallback.openai_url,
        paid=paid.openai_url,
        key=KEY_VARIABLE,
        more_model=plot.model,
        more_provider=plot.provider,
        more_chat=plot.chat,
    )


@dataclass
class Seen:
    """What a caller saw of one call.

    Attributes:
        text: The text that arrived.
        provider, upstream_model: Who answered, as far as it was said.
        finish: How it ended; None if it failed.
        failure: How it failed; None if it did not.
        seconds: How long it took.
        began_at: When it began, by `time.monotonic`.
    """

    text: str = ""
    provider: str = ""
    upstream_model: str = ""
    finish: Finish | None = None
    failure: FailedCall | None = None
    seconds: float = 0.0
    began_at: float = field(default_factory=time.monotonic)

    @property
    def is_complete(self) -> bool:
        """Whether the caller was told that the answer is whole."""
        return self.finish is not None and self.finish.reason == FinishReason.FINISH_REASON_STOP

    def take(self, event: ChatEvent) -> None:
        """Take one event of a stream."""
        match event.WhichOneof("event"):
            case "start":
                self.provider, self.upstream_model = event.start.provider, event.start.upstream_model
            case "delta":
                self.text += event.delta.text
            case "finish":
                self.finish = event.finish

    def take_whole(self, response: ChatResponse) -> None:
        """Take an answer in one piece."""
        self.provider, self.upstream_model = response.provider, response.upstream_model
        self.text = "".join(part.text for part in response.message.parts)
        self.finish = response.finish


def question(model: str = "assistant", text: str = QUESTION) -> Mapping[str, Any]:
    """Return the fields of a request."""
    return {"model": model, "messages": [Message(role=Role.ROLE_USER, parts=[Part(text=text)])]}


async def chat(
    stub: ChatServiceAsyncStub, model: str = "assistant", *, temperature: float | None = None, **options: Any
) -> Seen:
    """Call Chat and return what comes of it."""
    seen = Seen()
    request = ChatRequest(temperature=temperature, **question(model))
    try:
        async for event in stub.Chat(request, **{"timeout": LIMIT_SECONDS, **options}):
            seen.take(event)
    except grpc.aio.AioRpcError as error:
        seen.failure = read_failure(error)
    return replace(seen, seconds=time.monotonic() - seen.began_at)


async def chat_without_chance(stub: ChatServiceAsyncStub, model: str = "assistant") -> Seen:
    """Call Chat with nothing left to chance and return what comes of it."""
    return await chat(stub, model, temperature=0.0)


async def complete(stub: ChatServiceAsyncStub, model: str = "assistant", **options: Any) -> Seen:
    """Call Complete and return what comes of it."""
    seen = Seen()
    options = {"timeout": LIMIT_SECONDS, **options}
    try:
        seen.take_whole(await stub.Complete(CompleteRequest(**question(model)), **options))
    except grpc.aio.AioRpcError as error:
        seen.failure = read_failure(error)
    return replace(seen, seconds=time.monotonic() - seen.began_at)
