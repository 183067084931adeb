"""What the HTTP side refuses, and in which words."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.chat.v1 import ChatResponse
from inglenook.embed.v1 import Embedding, EmbedResponse
from inglenook.nli.v1 import InferResponse, InferResult
from inglenook.rerank.v1 import RerankResponse, RerankResult

from services.chassis.errors import CODES, CallError, NotServed, Reason
from services.chassis.status import explained_status
from services.config import Limits
from services.router.http.failures import REASONS, failure_of
from services.router.http.site import PATHS
from tests.support.asgi import JSON_HEADERS, Calls, ask

CHAT = "/v1/chat/completions"
POSTS = [path for method, path, _ in PATHS if method == "POST"]
WORDS = [
    *(
        "model",
        "messages",
        "role",
        "content",
        "user",
        "assistant",
        "tool",
        "text",
        "type",
        "image_url",
        "url",
    ),
    *("tools", "function", "name", "parameters", "tool_choice", "response_format", "json_schema", "schema"),
    *("stream", "stop", "metadata", "input", "documents", "query", "pairs", "premise", "inputs", "labels"),
    *(
        "image_url",
        "tool_calls",
        "id",
        "arguments",
        "extra_content",
        "inglenook",
        "signature",
        "provider",
        "data",
        "part",
    ),
    *("data:image/png;base64,AA=", "auto", "system", "reasoning_content", "encoding_format", "dimensions"),
]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
)
names = st.sampled_from(WORDS) | st.text(max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={
            "content": values,
            "tool_calls": st.lists(values, max_size=2),
            "tool_call_id": values,
            "extra_content": values,
        },
    ),
    max_size=3,
)
bodies = st.dictionaries(names, values, max_size=6) | st.fixed_dictionaries(
    {"messages": messages}, optional={"tools": values, "stop": values, "stream": st.booleans()}
)
contents = st.binary(max_size=40) | bodies.map(lambda body: json.dumps(body).encode())


@given(path=st.sampled_from(POSTS), content=contents)
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused_by_name_and_never_a_bug(path: str, content: bytes) -> None:
    """Whatever comes is a call, or the caller's own fault; no message quotes it."""
    calls = Calls(error=NotServed())
    told = asyncio.run(ask(calls, path, content))
    assert told.status == (404 if calls.requests else 400)
    assert set(told.error) == {"message", "type", "param", "code"}
    assert told.headers["x-request-id"]
    assert "Traceback" not in told.content.decode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"model": NaN}', "not valid JSON"),
        (b'{"model": "\\ud800"}', "not valid Unicode"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper"),
        (b"[" * 900, "nested deeper"),
        (b'{"a":' * 64 + b'"[[{{"' + b"}" * 64, "there is a parameter"),
        (b'{"a": [' + b"[]," * 100_000 + b"0]}", "lists and objects"),
        (b'{"a": [' + b"0," * 1_000_000 + b"0]}", "1000000 values"),
        (b'{"model": "a", "messages": [{"role": "user", "role": "tool"}]}', "names a member twice"),
        (b'{"model": "\xff"}', "not valid Unicode"),
        ('{"model": "a"}'.encode("utf-16"), "not valid Unicode"),
        (b'{"messages": [], "tools": [{"a": 1e999, "a": 2}]}', "names a member twice"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
async def test_a_body_that_is_no_proper_json_is_refused(content: bytes, problem: str) -> None:
    """Before anything of it is used."""
    told = await ask(Calls(), CHAT, content)
    assert told.status == 400
    assert problem in told.error["message"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 415, "unsupported_media_type"),
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({**JSON_HEADERS, "content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ({**JSON_HEADERS, "origin": "https://example.com"}, 403, "origin_refused"),
        ({**JSON_HEADERS, "x-request-timeout-seconds": "soon"}, 400, "invalid_request"),
        ({**JSON_HEADERS, "x-request-timeout-seconds": "nan"}, 400, "invalid_request"),
        ({**JSON_HEADERS, "x-request-timeout-seconds": "0"}, 400, "invalid_request"),
        ({**JSON_HEADERS, "content-length": "9999999999"}, 413, "message_too_large"),
    ],
)
async def test_a_request_is_refused_by_its_headers(headers: dict[str, str], status: int, code: str) -> None:
    """What a web page could send without being allowed to is refused like anything else."""
    calls = Calls()
    told = await ask(calls, CHAT, b"{}", headers=headers)
    assert (told.status, told.error["code"]) == (status, code)
    assert not calls.requests


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ({"n": 2}, "unsupported_parameter"),
        ({"logprobs": True}, "unsupported_parameter"),
        ({"top_k": "a"}, "invalid_request"),
    ],
)
async def test_what_is_known_and_not_supported_is_told_as_such(parameter: dict[str, Any], code: str) -> None:
    """With OpenAI's code, which programs branch on; what is wrong has another."""
    told = await ask(Calls(), CHAT, json.dumps({"messages": [], **parameter}).encode())
    (name,) = parameter
    assert (told.status, told.error["param"], told.error["code"]) == (400, name, code)


@pytest.mark.parametrize(
    ("path", "body", "response"),
    [
        (
            "/v1/rerank",
            {"query": "a", "documents": ["b"]},
            RerankResponse(results=[RerankResult(score=math.nan)]),
        ),
        (
            "/v1/nli",
            {"pairs": [{"premise": "a", "hypothesis": "b"}]},
            InferResponse(results=[InferResult(entailment=math.inf)]),
        ),
        (
            "/v1/embeddings",
            {"input": "a"},
            EmbedResponse(embeddings=[Embedding(packed=struct.pack("<f", math.nan))]),
        ),
    ],
)
async def test_a_number_that_json_cannot_say_is_the_models_failure(
    caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any], response: Message
) -> None:
    """And no bug of this side: there is no traceback in the log."""
    told = await ask(Calls(response.SerializeToString()), path, json.dumps(body).encode())
    assert (told.status, told.error["code"]) == (500, "inference_failed")
    assert not caplog.records


async def test_a_body_that_is_too_large_is_refused() -> None:
    """With the limit; the connection can be used again, because all of it was read."""
    told = await ask(Calls(), CHAT, b" " * 1025, limits=Limits(max_message_bytes=1024))
    assert (told.status, told.error["code"]) == (413, "message_too_large")
    assert "connection" not in told.headers


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1", 404), ("GET", CHAT, 405)])
async def test_paths_that_do_not_exist_are_told_in_one_shape(method: str, path: str, status: int) -> None:
    """Clients that read errors can read these, too."""
    told = await ask(Calls(), path, method=method)
    assert told.status == status
    assert set(told.error) == {"message", "type", "param", "code"}


async def test_a_request_keeps_the_id_that_its_caller_gave_it() -> None:
    """If it is a plain one; anything else gets one of ours."""
    kept = await ask(Calls(), "/v1/models", method="GET", headers={"x-request-id": "order-7"})
    made = await ask(Calls(), "/v1/models", method="GET", headers={"x-request-id": "a b"})
    assert kept.headers["x-request-id"] == "order-7"
    assert made.headers["x-request-id"].startswith("req_")


async def test_a_bug_is_told_with_an_id_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """The log has it under that id."""
    told = await ask(Calls(response=b"\xff"), CHAT, b'{"messages": []}')
    assert (told.status, told.error["code"]) == (500, "internal")
    (record,) = caplog.records
    assert record.__dict__["error_id"] in told.error["message"]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_words(reason: Reason) -> None:
    """Only those of `REASONS` decide; a status that is none of HTTP's would be a bug."""

    class Failed(CallError):
        """Fails for the reason."""

    error: Any = Failed("it failed", retry_after_seconds=None)
    error.reason = reason
    failure = failure_of(explained_status(error))
    assert failure.status == REASONS[reason].status
    assert failure.error["code"] == (REASONS[reason].code or reason.lower())
    retried = failure.status == 429 or failure.status >= 500  # by OpenAI's clients, unless told otherwise
    assert REASONS[reason].again or not retried or failure.headers["x-should-retry"] == "false"
    assert set(REASONS) == set(CODES)


async def test_an_unknown_parameter_is_refused_without_being_quoted() -> None:
    """What callers write is not repeated; the known ones are told."""
    told = await ask(Calls(), CHAT, b'{"messages": [], "tempratur": 1}')
    assert told.status == 400
    assert "temperature" in told.error["message"]
    assert "tempratur" not in told.error["message"].split()


async def test_null_is_as_good_as_absent() -> None:
    """Clients write null for what they leave out."""
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "n": None,
        "stop": None,
        "audio": None,
        "x": None,
    }
    calls = Calls(response=ChatResponse().SerializeToString())
    assert (await ask(calls, CHAT, json.dumps(body).encode())).status == 200
