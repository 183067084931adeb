"""Neither the key nor what users say is in anything that is emitted, whatever a provider repeats of it."""

from __future__ import annotations

import io
import logging
import os
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import ChatRequest, CompleteRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from pydantic import TypeAdapter

from services.chassis.logs import JsonFormatter
from services.chassis.process import ProcessSettings
from services.chassis.testing import settings
from services.chat.providers.catalog import open_provider
from services.chat.providers.failure import Failure
from services.config import AnyProvider, Shutdown, Telemetry
from tests.support.fault_actions import (
    answer,
    body,
    done,
    end,
    finish,
    head,
    opening,
    problem,
    raw,
    refuse,
    reset,
    respond,
    tokens,
)
from tests.support.fault_chat import LIMIT_SECONDS, Plot, Stage, question, staged
from tests.support.fault_exchange import KEY, KEY_VARIABLE, PATIENT, QUESTION, ask
from tests.support.fault_server import Received, Script, serving
from tests.support.scraping import scrape

ECHO: Final = f"{QUESTION} said the one with {KEY}"
"""What a provider repeats: that it quotes is not unheard of, with keys and with prompts."""

BEGUN: Final = (head(), opening, tokens(["one "]))

ECHOING: dict[str, Script] = {
    "wrong key": (refuse(401, f"Incorrect API key provided: {ECHO}", KEY),),
    "bad request": (refuse(400, ECHO, KEY),),
    "content filter": (refuse(400, ECHO, "content_policy_violation"),),
    "too many": (refuse(429, ECHO, KEY, {"x-request": KEY, "retry-after": KEY}),),
    "broken": (refuse(500, ECHO, KEY, {"x-echo": KEY, "x-should-retry": KEY}),),
    "error page": (respond(502, f"<html>{ECHO}</html>".encode(), content_type="text/html"),),
    "page": (respond(200, f"<html>{ECHO}</html>".encode(), content_type="text/html"),),
    "odd type": (respond(200, ECHO.encode(), content_type=f"application/{KEY}"),),
    "redirect": (respond(307, headers={"location": f"http://127.0.0.1:1/{KEY}"}),),
    "odd status line": (raw(f"HTTP/1.1 200 {ECHO}\r\ncontent-length: {KEY}\r\n\r\n".encode()),),
    "no HTTP": (raw(f"{ECHO}\r\n\r\n".encode()),),
    "bad header": (raw(f"HTTP/1.1 200 OK\r\n{KEY} {KEY}\r\n\r\n".encode()),),
    "no JSON": (head(), body(f"data: {ECHO}\n\n".encode()), end),
    "error first": (head(), opening, problem(ECHO), end),
    "error in the middle": (*BEGUN, problem(ECHO), end),
    "no JSON in the middle": (*BEGUN, body(f"data: {ECHO}\n\n".encode()), done, end),
    "no chunk in the middle": (*BEGUN, raw(f"{ECHO}\r\n".encode())),
    "odd reason to stop": (*BEGUN, finish(KEY), done, end),
    "no gzip": (head(headers={"content-encoding": "gzip"}), body(ECHO.encode()), end),
    "reset": (*BEGUN, reset),
}


class _Spans(TraceServiceServicer):
    """Keeps every span as text, its events included."""

    def __init__(self) -> None:
        self.text = ""

    async def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        """Keep the spans of one export."""
        del context
        self.text += str(request)
        return ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[_Spans, ProcessSettings]]:
    """Run a collector; return it with the settings of a process that sends its spans there."""
    spans = _Spans()
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(spans, server)  # type: ignore[no-untyped-call]  # generated
    address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    shutdown = Shutdown(drain_seconds=0.0, grace_seconds=1.0, flush_seconds=15.0)
    telemetry = Telemetry.model_validate({"otlp_endpoint": address})
    try:
        yield spans, replace(settings(shutdown=shutdown, metrics=True), telemetry=telemetry)
    finally:
        await server.stop(0)


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """Collect all logs of all loggers from debug level on, as the service would write them."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter("chat"))
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


async def told(stage: Stage, method: str) -> str:
    """Return everything that a caller is told of a failed call, and of an answered one all but the answer."""
    call: Any
    try:
        if method == "Complete":
            call = stage.stub.Complete(CompleteRequest(**question()), timeout=LIMIT_SECONDS)
            finish_told = str((await call).finish)
        else:
            call = stage.stub.Chat(ChatRequest(**question()), timeout=LIMIT_SECONDS)
            finish_told = "".join([str(event) async for event in call])
    except grpc.aio.AioRpcError as error:
        everything = (error.details(), error.debug_error_string(), error.initial_metadata(), repr(error))
        return f"{everything} {error.trailing_metadata()}"
    return f"{finish_told} {await call.initial_metadata()} {await call.trailing_metadata()}"


def assert_tells_nothing(*emitted: str) -> None:
    """Neither the key, nor a piece of it, nor the question is in what was emitted."""
    for text in emitted:
        for secret in (KEY, KEY.rpartition("-")[2], QUESTION):
            assert secret not in text, text[max(0, text.index(secret) - 300) : text.index(secret) + 100]


@pytest.mark.parametrize("kind", ["openai-compatible", "ollama"])
async def test_what_a_provider_repeats_is_nowhere(kind: str, tmp_path: Path, logs: io.StringIO) -> None:
    """Not in logs, traces, metrics, or what callers are told, metadata and details included."""
    said = [""]

    def script(_: Received) -> Script:
        return ECHOING[said[0]]

    plot = Plot(script, script, kind=kind, backoff=0.001, chat="ejection_failures = 1000")
    async with collecting() as (spans, chosen):
        async with staged(tmp_path, plot, chosen) as stage:
            for said[0] in ECHOING:
                assert_tells_nothing(
                    await told(stage, "Chat"), await told(stage, "Complete"), logs.getvalue()
                )
            assert len(stage.primary.received) >= 2 * len(ECHOING)
            assert {one.headers["authorization"] for one in stage.primary.received} == {f"Bearer {KEY}"}
            paths = [one.path for one in stage.primary.received] + stage.primary.asked
            metrics = [f"{one.name} {one.labels}" for one in await scrape(stage.process)]
        assert spans.text
        assert_tells_nothing(spans.text, logs.getvalue(), *metrics, *paths)


@pytest.mark.parametrize("kind", ["openai-compatible", "ollama"])
async def test_answered_call_leaves_no_trace_of_what_was_said(
    kind: str, tmp_path: Path, logs: io.StringIO
) -> None:
    """Prompts and answers are nobody's business but the caller's."""
    said = "What only the caller may read"
    async with collecting() as (spans, chosen):
        async with staged(tmp_path, Plot((answer([said]),), kind=kind), chosen) as stage:
            await told(stage, "Chat")
            await told(stage, "Complete")
            assert QUESTION.encode() in stage.primary.received[0].content
            metrics = [f"{one.name} {one.labels}" for one in await scrape(stage.process)]
        emitted = (spans.text, logs.getvalue(), *metrics)
        assert_tells_nothing(*emitted)
        assert not any(said in text for text in emitted)


SECTIONS: dict[str, dict[str, str]] = {
    "ollama": {},
    "openai": {},
    "openrouter": {},
    "groq": {},
    "moonshot": {},
    "venice": {},
    "together": {},
    "huggingface": {},
    "cloudflare": {"account_id": "abc"},
    "anthropic": {},
    "gemini": {},
    "openai-compatible": {"tier": "local"},
}


@pytest.mark.parametrize("kind", SECTIONS)
async def test_no_provider_shows_its_key(
    kind: str, logs: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in an address, a representation or a failure; it is sent in a header, and only there."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    async with serving([(refuse(401, ECHO, KEY),)]) as server:
        values = {"type": kind, "url": server.url, "api_key": f"env:{KEY_VARIABLE}", **SECTIONS[kind]}
        section: AnyProvider = TypeAdapter[AnyProvider](AnyProvider).validate_python(values)
        provider = open_provider("fault", section)
        parts = (provider, provider.connection, provider.dialect, section, vars(provider.connection))
        with pytest.raises(Failure) as raised:
            await provider.exchange(ask(), PATIENT, str).__aenter__()
        await provider.aclose()
        chain = "".join(traceback.format_exception(raised.value))
        (received,) = server.received
        paths = [*server.asked, received.path]
    assert any(KEY in value for value in received.headers.values())
    assert_tells_nothing(chain, repr(raised.value), repr(raised.value.told), logs.getvalue(), *paths)
    assert_tells_nothing(*(f"{part!r} {part!s}" for part in parts))


@pytest.mark.parametrize("key", ["sk-not\nfor-headers", "sk-schlüssel", "sk-\x00nul", "sk-\u2019quote"])
async def test_key_that_cannot_be_sent_is_refused_without_being_quoted(
    key: str, logs: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The HTTP client would repeat it in its complaint."""
    file = tmp_path / "key"
    file.write_text(key, encoding="utf-8")
    os.chmod(file, 0o600)
    async with serving([answer(["one"])]) as server:
        values = {"type": "openai-compatible", "tier": "local", "url": server.url, "api_key": f"file:{file}"}
        section: AnyProvider = TypeAdapter[AnyProvider](AnyProvider).validate_python(values)
        provider = open_provider("fault", section)
        with pytest.raises(Failure) as raised:
            await provider.exchange(ask(), PATIENT, str).__aenter__()
        await provider.aclose()
    told_of_it = "".join(traceback.format_exception(raised.value)) + logs.getvalue()
    assert "api_key" in str(raised.value)
    assert key not in told_of_it
    assert key[3:] not in told_of_it
    assert server.received == []
