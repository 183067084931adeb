"""Streams over HTTP: how they break off, whom they wait for, and who notices that the reader left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import openai
import pytest

from services.chassis.errors import CallError, Reason
from tests.support.backend import Context, refuse, serving
from tests.support.http_side import COMPLETIONS, QUESTION, Backend, posted, routed_http
from tests.support.polling import LONG_ENOUGH_SECONDS, until
from tests.support.scripted_chat import begun, call_piece, ended, piece, saying, scripted_chat
from tests.support.stubs import LIMIT_SECONDS

ASKED: Any = {"model": "talker", "messages": QUESTION, "stream": True}
LEAVING_SECONDS = 0.25
ENOUGH = 2_000


class Interrupted(CallError):
    """What the chat service says when an answer broke off."""

    reason = Reason.UPSTREAM_INTERRUPTED


class Limited(CallError):
    """What the chat service says when a provider wants to be left alone."""

    reason = Reason.UPSTREAM_RATE_LIMITED


async def test_a_failure_in_the_middle_is_an_error_of_the_client(tmp_path: Path) -> None:
    """What came before it was delivered; nothing says that the answer is complete."""
    with scripted_chat() as chat:
        chat.scripts = [[begun(), piece(text="It is"), Interrupted("the answer broke off")]]
        async with routed_http(tmp_path, {"chat": [chat.address]}) as side:
            stream = await side.openai.chat.completions.create(**ASKED)
            texts = [(await anext(stream)).choices[0].delta.content for _ in range(2)]
            with pytest.raises(openai.APIError, match="broke off") as raised:
                await anext(stream)
            whole = await side.post(COMPLETIONS, ASKED)
    assert "".join(text or "" for text in texts) == "It is"
    assert raised.value.code == "upstream_interrupted"
    assert "[DONE]" not in whole.text


async def test_a_stream_that_ends_well_without_its_end_is_no_success(tmp_path: Path) -> None:
    """A backend that forgets `finish` does not make half an answer a whole one."""
    with scripted_chat() as chat:
        chat.scripts = [[begun(), piece(text="It is")]]
        async with routed_http(tmp_path, {"chat": [chat.address]}) as side:
            told = await side.post(COMPLETIONS, ASKED)
    assert json.loads(told.text.split("data: ")[-1])["error"]["code"] == "upstream_interrupted"


async def test_a_failure_before_the_first_content_is_a_status(tmp_path: Path) -> None:
    """With the time after which to come back, in seconds and in milliseconds."""
    with scripted_chat() as chat:
        chat.scripts = [[Limited("ask later", retry_after_seconds=1.5)]]
        async with routed_http(tmp_path, {"chat": [chat.address]}) as side:
            with pytest.raises(openai.RateLimitError) as raised:
                await side.openai.chat.completions.create(**ASKED)
    assert raised.value.code == "rate_limit_exceeded"
    headers = raised.value.response.headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")


async def test_what_identifies_a_tool_call_comes_with_its_first_piece_only(tmp_path: Path) -> None:
    """Indexes count tool calls, not parts; signatures go where the part that they belong to is."""
    signed = {"provider": "home", "data": b"\x01"}
    script = [
        begun(),
        piece(0, reasoning="Hm."),
        piece(0, signature=signed),
        call_piece(1, id="a", name="weather", arguments='{"p'),
        call_piece(1, arguments='": 1}'),
        piece(1, signature=signed),
        call_piece(2, id="b", name="weather", arguments="{}"),
        ended(),
    ]
    with scripted_chat() as chat:
        chat.scripts = [script]
        async with routed_http(tmp_path, {"chat": [chat.address]}) as side:
            stream = await side.openai.chat.completions.create(**ASKED)
            deltas = [
                chunk.choices[0].delta.model_dump(exclude_unset=True)
                async for chunk in stream
                if chunk.choices
            ]
    signature = {"provider": "home", "data": "AQ=="}
    assert deltas[1:-1] == [
        {"reasoning_content": "Hm."},
        {"extra_content": {"inglenook": {"signature": {**signature, "part": "reasoning"}}}},
        {"tool_calls": [_call(0, '{"p', id="a", type="function", name="weather")]},
        {"tool_calls": [_call(0, '": 1}')]},
        {"tool_calls": [{"index": 0, "extra_content": {"inglenook": {"signature": signature}}}]},
        {"tool_calls": [_call(1, "{}", id="b", type="function", name="weather")]},
    ]


def _call(index: int, arguments: str, name: str = "", **more: str) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"index": index, "function": function, **more}


@pytest.mark.parametrize("streams", [True, False])
async def test_a_caller_that_leaves_is_gone_for_the_backend_within_a_quarter_of_a_second(
    tmp_path: Path, streams: bool
) -> None:
    """Before the first content, and for an answer in one piece, where nothing was sent either."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def hang(content: bytes, context: Context) -> bytes:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return content

    async def stream(content: bytes, context: Context) -> AsyncIterator[bytes]:
        yield begun().SerializeToString()
        yield await hang(content, context)

    async with (
        serving(Backend(unary=hang, stream=stream)) as fake,
        routed_http(tmp_path, {"chat": [fake.address]}, metrics=True) as side,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        async with posted(side.address, COMPLETIONS, {**ASKED, "stream": streams}):
            await arrived.wait()
            leaving = time.monotonic()
        await left.wait()
        assert time.monotonic() - leaving < LEAVING_SECONDS

        async def counted() -> bool:
            metrics = await side.plain.get(f"http://{side.router.process.metrics_address}/metrics")
            return any(
                'grpc_code="CANCELLED"' in line and "ChatService" in line for line in metrics.text.split("\n")
            )

        await until(counted)


async def test_a_caller_who_does_not_read_holds_up_the_backend(tmp_path: Path) -> None:
    """Rather than fill our memory; when it leaves, the backend is told."""
    made, left = 0, asyncio.Event()

    async def endless(content: bytes, context: Context) -> AsyncIterator[bytes]:
        nonlocal made
        try:
            yield begun().SerializeToString()
            while True:
                made += 1
                yield piece(text="warm " * 2_000).SerializeToString()
        finally:
            left.set()

    async def standing_still() -> bool:
        before = made
        await asyncio.sleep(0.1)
        return made == before > 0

    async with (
        serving(Backend(stream=endless)) as fake,
        routed_http(tmp_path, {"chat": [fake.address]}) as side,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        async with posted(side.address, COMPLETIONS, ASKED) as reader:
            await reader.readline()
            await until(standing_still)
            assert made < ENOUGH  # 20 MB, most of them in the buffers of the system and of gRPC
        await left.wait()


@pytest.mark.parametrize("streams", [True, False])
async def test_a_deadline_goes_with_the_call(tmp_path: Path, streams: bool) -> None:
    """In seconds, as a header; the backend is told how long it has."""

    async def hang(content: bytes, context: Context) -> bytes:
        await asyncio.Event().wait()
        return content

    async def stream(content: bytes, context: Context) -> AsyncIterator[bytes]:
        yield await hang(content, context)

    headers = {"x-request-timeout-seconds": str(LONG_ENOUGH_SECONDS)}
    async with (
        serving(Backend(unary=hang, stream=stream)) as fake,
        routed_http(tmp_path, {"chat": [fake.address]}) as side,
    ):
        told = await side.post(COMPLETIONS, {**ASKED, "stream": streams}, headers)
    assert (told.status_code, told.json()["error"]["code"]) == (504, "deadline")
    assert 0 < (fake.remaining[0] or 0) < LONG_ENOUGH_SECONDS + 0.5


async def test_the_clients_own_timeout_is_a_deadline_too(tmp_path: Path) -> None:
    """OpenAI's client says how long it reads; otherwise the default of `[limits]` holds."""
    more = "[limits]\ndefault_timeout_seconds = 7.0\n"
    async with (
        serving(Backend(stream=_finished)) as fake,
        routed_http(tmp_path, {"chat": [fake.address]}, more=more) as side,
    ):
        await side.openai.with_options(timeout=300).chat.completions.create(**ASKED)
        await side.post(COMPLETIONS, ASKED)
    assert 290 < (fake.remaining[0] or 0) < 301
    assert 0 < (fake.remaining[1] or 0) < 8


async def test_both_doors_are_counted_alike(tmp_path: Path) -> None:
    """One pipeline: calls over HTTP are in the metrics of the methods that they call."""
    with scripted_chat() as chat:
        chat.scripts = [saying("warm")]
        async with routed_http(tmp_path, {"chat": [chat.address]}, metrics=True) as side:
            await (await side.openai.chat.completions.create(**ASKED)).close()
            await side.post(COMPLETIONS, ASKED)
            started = 'grpc_server_started_total{grpc_method="Chat"'
            assert await side.metric(started, side.router) == 2


async def test_a_broken_backend_is_told_as_it_is_over_grpc(tmp_path: Path) -> None:
    """Code and reason of the backend decide; who served it is in a header."""

    async def refused(content: bytes, context: Context) -> bytes:
        await refuse(context, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        return content

    async with (
        serving(Backend(unary=refused)) as fake,
        routed_http(tmp_path, {"embed": [fake.address]}) as side,
    ):
        told = await side.post("/v1/embeddings", {"model": "x", "input": "y"})
    assert told.status_code == 404
    assert told.json()["error"] == {
        "message": "because of MODEL_NOT_FOUND",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def _finished(content: bytes, context: Context) -> AsyncIterator[bytes]:
    for event in saying("warm"):
        yield event.SerializeToString()  # type: ignore[union-attr]  # a script of events only
