"""One request to a provider that misbehaves: it fails in one way, in time, and leaves nothing behind."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services.chat.conversation import Tool
from services.chat.providers.exchange import Timers
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.framing import MAX_LINE_BYTES
from services.chat.providers.provider import Provider
from tests.support.fault_actions import (
    answer,
    body,
    done,
    end,
    finish,
    half_close,
    head,
    keep_alives,
    opening,
    pieces_of,
    problem,
    raw,
    refuse,
    reset,
    respond,
    stall,
    tokens,
    wait,
)
from tests.support.fault_exchange import KEY, PATIENT, QUICK, Outcome, ask, outcome, provider_at, resources
from tests.support.fault_server import Action, FaultServer, Script, serving
from tests.support.polling import until

WORDS = ("Grüße", " aus ", "天気 🌤", " done")
TEXT = "".join(WORDS)
SLACK_SECONDS = 0.7
"""How much later than its limit something may be noticed on a busy machine."""
MEBIBYTE = 1024 * 1024

BEGUN: Script = (head(), opening, tokens(WORDS))
ENDED: Script = (finish(output_tokens=4), done, end)


@asynccontextmanager
async def faulty(*scripts: Script, **more: object) -> AsyncIterator[tuple[FaultServer, Provider]]:
    """Run a stand-in with these scripts and a provider in front of it."""
    async with serving(scripts) as server, provider_at(server.openai_url, **more) as provider:
        yield server, provider


async def come_of(script: Sequence[Action], timers: Timers = PATIENT) -> tuple[Outcome, float]:
    """Return what comes of one request, and after how many seconds; fail if anything is left behind."""
    async with serving([script]) as server:
        tasks, files = resources()
        async with provider_at(server.openai_url) as provider:
            began = time.monotonic()
            found = await outcome(provider, timers)
            seconds = time.monotonic() - began

        async def nothing_left() -> bool:
            now, open_files = resources()
            return now <= tasks and open_files <= files and server.open_connections == 0

        await until(nothing_left)
    return found, seconds


def whole_answer() -> bytes:
    """Return a whole answer in one piece of JSON."""
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    told = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps({**told, "usage": usage}, ensure_ascii=False).encode()


GARBAGE = body(b'data: {"choices": [{"delta": {"content": \n\n')
SAYS_STOP = body(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n')

COMPLETE: dict[str, Script] = {
    "as it should be": answer(WORDS),
    "compressed": (head(gzip=True), opening, tokens(WORDS), finish(output_tokens=4), done, end),
    "every byte a chunk": (head(), pieces_of(1), opening, tokens(WORDS), *ENDED),
    "chunks that cut characters": (head(), pieces_of(3), opening, tokens(WORDS), *ENDED),
    "head byte by byte": (head(slowly=0.001), opening, tokens(WORDS), *ENDED),
    "no [DONE]": (*BEGUN, finish(output_tokens=4), end),
    "[DONE] twice": (*BEGUN, finish(output_tokens=4), done, done, end),
    "ends twice": (*BEGUN, finish(output_tokens=4), finish("length", 4), done, end),
    "reset before [DONE]": (*BEGUN, finish(output_tokens=4), wait(0.05), reset),
    "closed without the last chunk": (*BEGUN, finish(output_tokens=4), done),
    "half-closed": (*BEGUN, finish(output_tokens=4), done, half_close),
    "says that it is another type": (head(content_type="text/plain"), *BEGUN[1:], *ENDED),
    "in one piece of JSON": (respond(200, whole_answer()),),
    "nothing but [DONE] follows garbage": (*BEGUN, finish(output_tokens=4), done, body(b"data: {]\n\n"), end),
}


@pytest.mark.parametrize("name", COMPLETE)
async def test_answer_that_is_there_is_read_whatever_its_way(name: str) -> None:
    """Text, reason and usage are those of the plain answer, however the bytes travel and end."""
    found, _ = await come_of(COMPLETE[name])
    assert found.failure is None
    assert (found.text, found.stopped, found.output_tokens) == (TEXT, "stop", 4)


FAILING: dict[str, tuple[Script, FailureKind, str]] = {
    "reset at once": ((reset,), FailureKind.UNAVAILABLE, ""),
    "closed at once": ((), FailureKind.UNAVAILABLE, ""),
    "reset after the head": ((head(), wait(0.05), reset), FailureKind.BROKEN_OFF, ""),
    "closed after the head": ((head(),), FailureKind.BROKEN_OFF, ""),
    "empty answer": ((head(), end), FailureKind.BROKEN_OFF, ""),
    "reset in the middle": ((*BEGUN, wait(0.05), reset), FailureKind.BROKEN_OFF, TEXT),
    "closed in the middle": (BEGUN, FailureKind.BROKEN_OFF, TEXT),
    "ends in the middle, as HTTP wants it": ((*BEGUN, end), FailureKind.BROKEN_OFF, TEXT),
    "[DONE] in the middle": ((*BEGUN, done, end), FailureKind.BROKEN_OFF, TEXT),
    "half-closed in the middle": ((*BEGUN, half_close), FailureKind.BROKEN_OFF, TEXT),
    "malformed event in the place of a token": (
        (*BEGUN, GARBAGE, finish(output_tokens=5), done, end),
        FailureKind.MALFORMED,
        TEXT,
    ),
    "malformed event, and nobody counts": ((*BEGUN, GARBAGE, SAYS_STOP, end), FailureKind.MALFORMED, TEXT),
    "malformed event besides all tokens": (
        (*BEGUN[:2], tokens(WORDS), GARBAGE, *ENDED),
        FailureKind.MALFORMED,
        TEXT,
    ),
    "malformed events": ((*BEGUN, GARBAGE, GARBAGE, *ENDED), FailureKind.MALFORMED, TEXT),
    "malformed event first": ((*BEGUN[:2], GARBAGE, *BEGUN[2:], *ENDED), FailureKind.MALFORMED, ""),
    "malformed event last": ((*BEGUN, GARBAGE, end), FailureKind.MALFORMED, TEXT),
    "malformed chunk": ((*BEGUN, raw(b"zz\r\nnonsense\r\n")), FailureKind.BROKEN_OFF, TEXT),
    "malformed gzip": (
        (head(headers={"content-encoding": "gzip"}), body(b"this is no gzip"), end),
        FailureKind.MALFORMED,
        "",
    ),
    "error inside": ((*BEGUN, problem("out of memory"), done, end), FailureKind.UNAVAILABLE, TEXT),
    "error first": ((head(), opening, problem("out of memory"), end), FailureKind.UNAVAILABLE, ""),
    "no HTTP": ((raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),), FailureKind.UNAVAILABLE, ""),
    "half a head": ((raw(b"HTTP/1.1 200 OK\r\ncontent-ty"),), FailureKind.UNAVAILABLE, ""),
    "page for people": (
        (respond(200, b"<html>hello</html>", content_type="text/html; charset=utf-8"),),
        FailureKind.MALFORMED,
        "",
    ),
    "error page for people": (
        (respond(502, b"<html>Bad gateway</html>", content_type="text/html"),),
        FailureKind.UNAVAILABLE,
        "",
    ),
    "error without a body": ((respond(500),), FailureKind.UNAVAILABLE, ""),
    "JSON that is cut": ((respond(200, whole_answer()[:-5]),), FailureKind.MALFORMED, ""),
    "JSON that is no object": ((respond(200, b"[]"),), FailureKind.MALFORMED, ""),
    "too many requests": ((refuse(429, "slow down"),), FailureKind.RATE_LIMITED, ""),
    "wrong key": ((refuse(401, f"no such key {KEY}"),), FailureKind.AUTHENTICATION, ""),
}


@pytest.mark.parametrize("name", FAILING)
async def test_answer_that_fails_has_one_kind_of_failure_after_everything_before_it(name: str) -> None:
    """What arrived is handed out, then the failure says what happened; neither waits for a timer."""
    script, kind, text = FAILING[name]
    found, _ = await come_of(script)
    assert found.failure is not None
    assert (found.failure.kind, found.text, found.stopped) == (kind, text, "")


SILENT: dict[str, tuple[Script, str]] = {
    "never answers": ((stall,), ""),
    "slow head": ((head(slowly=0.05), *BEGUN[1:], *ENDED), ""),
    "stops in the head": ((raw(b"HTTP/1.1 200 OK\r\ncontent-type: "), stall), ""),
    "stops after the head": ((head(), stall), ""),
    "says nothing but that it is there": ((head(), opening, keep_alives(1000, 0.05)), ""),
    "stops in the middle": ((*BEGUN, stall), TEXT),
}


@pytest.mark.parametrize("name", SILENT)
async def test_silence_is_a_timeout_in_whichever_phase_it_falls(name: str) -> None:
    """The first timer runs while headers are waited for, too, and keep-alives do not stop it."""
    script, text = SILENT[name]
    found, seconds = await come_of(script, QUICK)
    assert found.failure is not None
    assert (found.failure.kind, found.text) == (FailureKind.TIMEOUT, text)
    assert seconds < QUICK.first_token + QUICK.idle + SLACK_SECONDS


async def test_idle_timer_does_not_run_before_the_first_content() -> None:
    """A model that is being loaded is slow once and not silent."""
    found, _ = await come_of(answer(WORDS, before=0.4), Timers(first_token=10.0, idle=0.1))
    assert (found.failure, found.text) == (None, TEXT)


async def test_first_token_timer_does_not_run_after_the_first_content() -> None:
    """A long answer takes long; each piece of it may take as long as the idle timer says."""
    found, seconds = await come_of(answer(WORDS, interval=0.2), Timers(first_token=0.5, idle=5.0))
    assert (found.failure, found.text) == (None, TEXT)
    assert seconds > 0.5


async def test_complete_answer_does_not_wait_for_usage_that_never_comes() -> None:
    """Why it ended has been said; an open connection after that is no reason to fail or to wait long."""
    found, seconds = await come_of(
        (*BEGUN, finish(output_tokens=4), stall), Timers(first_token=5.0, idle=30.0)
    )
    assert (found.failure, found.text, found.stopped) == (None, TEXT, "stop")
    assert seconds < 5.0


async def test_signs_of_life_after_the_end_do_not_put_it_off() -> None:
    """A service that keeps its connection alive for ever after the last word has answered all the same."""
    script = (*BEGUN, finish(output_tokens=4), keep_alives(1000, 0.05), end)
    found, seconds = await come_of(script, Timers(first_token=20.0, idle=20.0))
    assert (found.failure, found.text, found.stopped, found.output_tokens) == (None, TEXT, "stop", 4)
    assert seconds < 5.0


async def test_line_without_an_end_is_refused_and_not_kept() -> None:
    """MALFORMED once the limit is passed: of many times as much, little more than the limit is taken in."""
    endless = (*BEGUN, body(b"data: "), *[body(b"y" * MEBIBYTE)] * 64, end)
    async with faulty(endless) as (server, provider):
        found = await outcome(provider)
        assert found.failure is not None
        assert (found.failure.kind, found.text) == (FailureKind.MALFORMED, TEXT)
        assert server.received[0].sent < 4 * MAX_LINE_BYTES


async def test_json_without_an_end_is_refused_and_not_kept() -> None:
    """An answer in one piece is held to the limit that a line has."""
    endless = (head(content_type="application/json"), *[body(b"y" * MEBIBYTE)] * 64, end)
    async with faulty(endless) as (server, provider):
        found = await outcome(provider)
        assert found.failure is not None
        assert found.failure.kind is FailureKind.MALFORMED
        assert server.received[0].sent < 4 * MAX_LINE_BYTES


async def answered(provider: Provider, parameters: dict[str, object]) -> Failure | None:
    """Ask with a tool that has these parameters; return the failure, if it is one."""
    question = ask()
    tool = Tool("f", "", parameters)
    question = replace(question, conversation=replace(question.conversation, tools=(tool,)))
    try:
        async with provider.exchange(question, PATIENT, str) as exchange:
            async for _ in exchange:
                pass
    except Failure as failure:
        return failure
    return None


async def test_halves_of_characters_in_json_of_a_request_are_replaced() -> None:
    """Callers can write them into schemas and arguments as escapes; no provider can read them as UTF-8."""
    async with faulty(answer(WORDS)) as (server, provider):
        assert await answered(provider, {"type": "object", "title": "\ud800"}) is None
        assert json.loads(server.received[0].content)["tools"][0]["function"]["parameters"]["title"] == "?"


async def test_what_is_nested_too_deeply_to_be_written_is_refused() -> None:
    """It is the caller's, so nobody else is asked; and the next one gets its turn."""
    deep: dict[str, object] = {}
    for _ in range(2000):
        deep = {"a": deep}
    async with faulty(answer(WORDS), max_concurrent_requests=1) as (server, provider):
        failure = await answered(provider, deep)
        assert failure is not None
        assert failure.kind is FailureKind.REJECTED
        assert await answered(provider, {}) is None
        assert len(server.received) == 1


async def test_failure_and_its_causes_do_not_quote_the_provider() -> None:
    """Whatever is logged with a failure, traceback and causes included, is in our words."""
    quoting = raw(f"HTTP/1.1 200 {KEY}\x01\r\nno header {KEY}\r\n\r\n".encode())
    for script in ((quoting,), (refuse(400, f"{KEY}"),), (head(), body(f"data: {KEY}\n\n".encode()), end)):
        found, _ = await come_of(script)
        assert isinstance(found.failure, Failure)
        assert KEY not in "".join(traceback.format_exception(found.failure)) + repr(found.failure.told)
