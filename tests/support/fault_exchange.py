"""One provider of our own in front of a stand-in, without anything that would ask it twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from services.chat.answer import Piece, Stopped, TextPiece, UsageReport
from services.chat.conversation import Conversation, Message, Text
from services.chat.providers.dialect import Ask
from services.chat.providers.exchange import Timers
from services.chat.providers.failure import Failure
from services.chat.providers.openai.provider import OpenAiProvider
from services.chat.providers.provider import Provider
from services.config import CompatibleProvider
from tests.support.fault_speech import OpenAiSpeech

PATIENT: Final = Timers(first_token=10.0, idle=10.0)
"""Timers that only a hang reaches."""
QUICK: Final = Timers(first_token=0.3, idle=0.3)
KEY: Final = "sk-test-7Zq4711xDoNotTell"
KEY_VARIABLE: Final = "FAULT_PROVIDER_KEY"
QUESTION: Final = "What nobody else may read"


@dataclass
class Outcome:
    """What came of one exchange."""

    pieces: list[Piece] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def text(self) -> str:
        """All text."""
        return "".join(piece.text for piece in self.pieces if isinstance(piece, TextPiece))

    @property
    def stopped(self) -> str:
        """Why it ended; empty if it did not say."""
        return next((piece.reason for piece in self.pieces if isinstance(piece, Stopped)), "")

    @property
    def output_tokens(self) -> int | None:
        """The last that was said about it."""
        reports = [piece.usage.output_tokens for piece in self.pieces if isinstance(piece, UsageReport)]
        return reports[-1] if reports else None


def ask(text: str = QUESTION) -> Ask:
    """Return a question."""
    conversation = Conversation(messages=(Message("user", (Text(text),)),))
    return Ask(conversation=conversation, provider="fault", upstream_model=OpenAiSpeech.model)


def section(url: str, **more: object) -> CompatibleProvider:
    """Return the configuration of a provider at `url`."""
    values = {
        "type": "openai-compatible",
        "url": url,
        "tier": "local",
        "api_key": f"env:{KEY_VARIABLE}",
        **more,
    }
    return CompatibleProvider.model_validate(values)


@asynccontextmanager
async def provider_at(url: str, **more: object) -> AsyncIterator[Provider]:
    """Return a provider at `url`; it sends `KEY`."""
    os.environ[KEY_VARIABLE] = KEY
    provider = OpenAiProvider("fault", section(url, **more))
    try:
        yield provider
    finally:
        await provider.aclose()


async def outcome(provider: Provider, timers: Timers = PATIENT) -> Outcome:
    """Ask once and return what comes of it."""
    found = Outcome()
    try:
        async with provider.exchange(ask(), timers, lambda number: f"call_{number}") as exchange:
            async for pieces in exchange:
                found.pieces += pieces
    except Failure as failure:
        found.failure = failure
    return found


def resources() -> tuple[set[asyncio.Task[object]], int]:
    """Return the tasks that run and the number of open file descriptors."""
    return set(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
