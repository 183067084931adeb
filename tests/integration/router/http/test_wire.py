"""What HTTP clients may and may not send, byte by byte, and what is counted of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from inglenook.embed.v1 import Embedding, EmbedResponse
from prometheus_client import CollectorRegistry
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from services.router.http.connection import Connection
from services.router.http.metrics import HttpMetrics
from tests.support.backend import Context, serving
from tests.support.http_side import Backend, RoutedHttp, routed_http
from tests.support.polling import until
from tests.support.stubs import LIMIT_SECONDS

LIMIT = 64 * 1024
MORE = f'[limits]\nmax_message_bytes = {LIMIT}\n[cache]\nurl = "off"\n'
ASKED = b'{"model": "small", "input": "a"}'
JSON_TYPE = b"content-type: application/json\r\n"
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nhost: here\r\n" + JSON_TYPE


async def embed(content: bytes, context: Context) -> bytes:
    """Answer with one embedding."""
    del content, context
    return EmbedResponse(embeddings=[Embedding(packed=b"\0\0\0\0")]).SerializeToString()


@pytest.fixture(scope="module")
async def side(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoutedHttp]:
    """Run a router in front of a backend that embeds."""
    folder = tmp_path_factory.mktemp("wire")
    async with (
        serving(Backend(unary=embed)) as fake,
        routed_http(folder, {"embed": [fake.address]}, more=MORE) as side,
    ):
        yield side


@asynccontextmanager
async def connected(side: RoutedHttp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and leave at the end."""
    host, _, port = side.address.rpartition(":")
    async with asyncio.timeout(LIMIT_SECONDS):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def told(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one response with a length; return its status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


def sized(content: bytes) -> bytes:
    """Return a whole request."""
    return HEAD + b"content-length: %d\r\n\r\n%b" % (len(content), content)


async def test_a_body_in_chunks_is_as_good_as_one_with_a_length(side: RoutedHttp) -> None:
    """Programs that stream what they send know no length."""
    async with connected(side) as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for piece in (ASKED[:5], ASKED[5:]):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        status, _ = await told(reader)
    assert status == 200


async def test_requests_one_after_the_other_are_answered_in_their_order(side: RoutedHttp) -> None:
    """Sent at once over one connection; a refused one does not end it."""
    async with connected(side) as (reader, writer):
        writer.write(sized(ASKED) + sized(b"{}") + b"GET /openapi.json HTTP/1.1\r\nhost: here\r\n\r\n")
        statuses = [(await told(reader))[0] for _ in range(3)]
    assert statuses == [200, 400, 200]


async def test_a_client_of_the_first_version_is_answered(side: RoutedHttp) -> None:
    """Its connection ends with the response."""
    async with connected(side) as (reader, writer):
        writer.write(sized(ASKED).replace(b"HTTP/1.1", b"HTTP/1.0"))
        content = await reader.read()
    assert content.startswith(b"HTTP/1.1 200")


async def test_a_body_without_end_is_refused_before_it_ends(side: RoutedHttp) -> None:
    """Whoever sends it may go on; nobody reads it."""
    async with connected(side) as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(5):
            writer.write(b"%x\r\n%b\r\n" % (LIMIT, b" " * LIMIT))
        status, content = await told(reader)
    assert (status, json.loads(content)["error"]["code"]) == (413, "message_too_large")


async def test_a_body_that_is_announced_too_large_is_refused_unread(side: RoutedHttp) -> None:
    """Also where the client asks first whether it may send it."""
    async with connected(side) as (reader, writer):
        writer.write(HEAD + b"expect: 100-continue\r\ncontent-length: 999999999\r\n\r\n")
        status, _ = await told(reader)
    assert status == 413


@pytest.mark.parametrize("end", [b"", b"/x HTTP/1.1\r\nhost: here\r\nname : value\r\n\r\n", b"a" * 70_000])
async def test_what_is_not_http_is_refused_in_json_and_counted(side: RoutedHttp, end: bytes) -> None:
    """Under no path, whatever it said."""
    before = await counted(side, 'path="other",status="400"')
    async with connected(side) as (reader, writer):
        writer.write(b"GET " + end if end else b"\x16\x03\x01 hello\r\n\r\n")
        status, content = await told(reader)
        assert await reader.read() == b""
    assert (status, json.loads(content)["error"]["code"]) == (400, "bad_request")
    assert await counted(side, 'path="other",status="400"') == before + 1


async def test_a_chunk_that_is_none_ends_the_connection(side: RoutedHttp) -> None:
    """In the middle of a body."""
    async with connected(side) as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n")
        content = await reader.read()
    assert content.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/health", 200), ("OPTIONS", "/v1/embeddings", 405), ("DELETE", "/v1/models/small", 405)],
)
async def test_other_methods_are_answered_as_http_has_it(
    side: RoutedHttp, method: str, path: str, status: int
) -> None:
    """HEAD without a body; what is not there with the methods that are."""
    answer = await side.plain.request(method, path)
    assert answer.status_code == status
    assert status == 200 or answer.headers["allow"]
    assert (answer.content == b"") == (method == "HEAD")


async def test_requests_are_counted_by_path_and_status(side: RoutedHttp) -> None:
    """Also those that never became a call; names that callers choose are no labels."""
    expected = (
        'path="/v1/embeddings",status="200"',
        'path="/v1/embeddings",status="400"',
        'path="/v1/embeddings",status="499"',
        'path="/v1/models/{model:path}",status="404"',
        'path="other",status="404"',
    )
    before = [await counted(side, labels) for labels in expected]
    await side.post("/v1/embeddings", {"model": "small", "input": "a"})
    await side.post("/v1/embeddings", {"inputs": "a"})
    await side.plain.get("/v1/models/nobody")
    await side.plain.get("/nobody/knows")
    async with connected(side) as (_, writer):
        writer.write(HEAD + b"content-length: 100\r\n\r\n{")
        await writer.drain()

    async def all_counted() -> bool:
        return [await counted(side, labels) - 1 for labels in expected] == before

    await until(all_counted)
    assert "nobody" not in (await side.plain.get("/metrics")).text


async def test_metrics_are_those_of_the_process_in_either_format(side: RoutedHttp) -> None:
    """Prometheus asks for OpenMetrics by itself."""
    plain = await side.plain.get("/metrics")
    accepted = {"accept": "application/openmetrics-text;version=1.0.0"}
    openmetrics = await side.plain.get("/metrics", headers=accepted)
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert "inglenook_backend_state" in plain.text
    assert openmetrics.text.endswith("# EOF\n")


async def test_a_client_that_offers_another_protocol_is_answered_in_this_one(
    side: RoutedHttp, caplog: pytest.LogCaptureFixture
) -> None:
    """Java's client offers HTTP/2 with every connection, which is worth no line in the log."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQ"}
    assert (await side.plain.get("/health", headers=offer)).status_code == 200
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nhost:"])
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    """Whether nothing came of it or a part, and whether a request came before; a body has its own time."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"here")(scope, receive, send)

    config = uvicorn.Config(app, log_config=None)
    metrics = HttpMetrics(CollectorRegistry())
    given: Any = {"config": config, "server_state": ServerState(), "app_state": {}}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(metrics, 0.2, **given), "127.0.0.1", 0)
    async with server, asyncio.timeout(LIMIT_SECONDS):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        if sent:
            writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            await told(reader)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()


async def counted(side: RoutedHttp, labels: str) -> float:
    """Return how many requests have been counted under some labels."""
    lines = (await side.plain.get("/metrics")).text.splitlines()
    name = f"inglenook_http_requests_total{{{labels}}} "
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
