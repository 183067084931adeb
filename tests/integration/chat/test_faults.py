"""What a caller sees when a provider's transport misbehaves, and how often the provider is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.fault_actions import (
    answer,
    body,
    done,
    end,
    finish,
    half_close,
    head,
    opening,
    pieces_of,
    respond,
    stall,
    tokens,
)
from tests.support.fault_chat import Plot, chat, complete, staged
from tests.support.fault_exchange import KEY
from tests.support.fault_server import Script

WORDS: Final = ("Grüße", " aus ", "天気 🌤", " done")
TEXT: Final = "".join(WORDS)
FIRST_TOKEN: Final = 0.5
SLACK_SECONDS: Final = 2.0
"""How much longer than its timer a call may take on a busy machine."""
MEBIBYTE: Final = 1024 * 1024
PAGE: Final = b"<html><body>Bad gateway</body></html>"

BEGUN: Final[Script] = (head(), opening, tokens(WORDS))
ENDED: Final[Script] = (finish(output_tokens=4), done, end)
LONG_LINE: Final[Script] = (body(b"data: "), *[body(b"y" * MEBIBYTE)] * 10, *ENDED)


@dataclass(frozen=True)
class Case:
    """One fault of the first target.

    Attributes:
        name: What happens.
        script: What the first target does.
        asked: How often it is asked; 1 + 2 retries where asking again may help.
        streamed, whole: Who answers Chat and Complete; empty if the call ends with UPSTREAM_INTERRUPTED.
    """

    name: str
    script: Script
    asked: int
    streamed: str
    whole: str = ""

    def __str__(self) -> str:
        return self.name

    def speaker(self, method: str) -> str:
        """Return who answers a method."""
        return self.streamed if method == "Chat" else self.whole or self.streamed


CASES: Final = (
    Case("silent connection", (stall,), 1, "fallback"),
    Case("half-closed before the head", (half_close,), 3, "fallback"),
    Case("half-closed in the middle", (*BEGUN, half_close), 3, "", "fallback"),
    Case("half-closed after the end", (*BEGUN, finish(output_tokens=4), done, half_close), 1, "primary"),
    Case("head slower than the first token may be", (head(slowly=0.05), *BEGUN[1:], *ENDED), 1, "fallback"),
    Case("head byte by byte", (head(slowly=0.001), *BEGUN[1:], *ENDED), 1, "primary"),
    Case("compressed", (head(gzip=True), *BEGUN[1:], *ENDED), 1, "primary"),
    Case("chunks that cut characters", (head(), pieces_of(1), *BEGUN[1:], *ENDED), 1, "primary"),
    Case("line of 10 MB first", (*BEGUN[:2], *LONG_LINE), 3, "fallback"),
    Case("line of 10 MB in the middle", (*BEGUN, *LONG_LINE), 3, "", "fallback"),
    Case("error page", (respond(502, PAGE, content_type="text/html"),), 3, "fallback"),
    Case("page with a good status", (respond(200, PAGE, content_type="text/html"),), 1, "fallback"),
    Case("redirect", (respond(307, headers={"location": "http://127.0.0.1:1/"}),), 1, "fallback"),
    Case("other content type", (head(content_type="text/plain"), *BEGUN[1:], *ENDED), 1, "primary"),
    Case("ends twice", (*BEGUN, finish(output_tokens=4), finish("length", 4), done, end), 1, "primary"),
    Case("[DONE] twice", (*BEGUN, finish(output_tokens=4), done, done, end), 1, "primary"),
)


@pytest.mark.parametrize("method", ["Chat", "Complete"])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_faulty_transport_is_an_answer_or_a_clean_error(
    case: Case, method: str, tmp_path: Path
) -> None:
    """The whole answer of who is named, or an error after a part of it; asked as often as may help."""
    plot = Plot((case.script,), (answer(WORDS),), first_token=FIRST_TOKEN, idle=FIRST_TOKEN, backoff=0.01)
    async with staged(tmp_path, plot) as stage:
        seen = await (chat if method == "Chat" else complete)(stage.stub)
        asked, keys = len(stage.primary.received), [one.headers for one in stage.fallback.received]
    if speaker := case.speaker(method):
        assert (seen.provider, seen.text, seen.is_complete, seen.failure) == (speaker, TEXT, True, None)
        assert seen.finish is not None
        assert len(seen.finish.attempts) == asked + (speaker == "fallback")
        assert [one.reason for one in seen.finish.attempts if not one.reason] == [""]
    else:
        assert seen.failure is not None
        assert (seen.failure.code.name, seen.failure.reason) == ("DATA_LOSS", "UPSTREAM_INTERRUPTED")
        assert (seen.text, seen.finish) == (TEXT, None)
    assert asked == (case.asked if speaker else 1)
    assert seen.seconds < FIRST_TOKEN + SLACK_SECONDS
    assert not any(KEY in value for headers in keys for value in headers.values())
