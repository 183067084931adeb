"""A provider that is asked over a real connection, and what comes of it."""

from __future__ import annotations

import itertools
from typing import Final

from services.chat.answer import Piece
from services.chat.providers.dialect import Ask
from services.chat.providers.exchange import Timers
from services.chat.providers.failure import Failure
from services.chat.providers.provider import Provider
from tests.support.transcripts import ASK

TIMERS: Final = Timers(first_token=10, idle=10)


async def answer(provider: Provider, ask: Ask = ASK) -> tuple[list[Piece], Failure | None]:
    """Return the pieces of an answer, and the failure that ended it."""
    pieces: list[Piece] = []
    numbers = itertools.count()
    try:
        async with provider.exchange(ask, TIMERS, lambda _: f"call_{next(numbers)}") as exchange:
            async for some in exchange:
                pieces += some
    except Failure as failure:
        return pieces, failure
    return pieces, None


def portions(body: bytes, size: int = 100) -> list[bytes]:
    """Return a body cut into pieces of that size."""
    return [body[start : start + size] for start in range(0, len(body), size)]
