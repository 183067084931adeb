"""A stand-in for a service that speaks Chat Completions: a small real HTTP/1.1 server on loopback.

It answers `/v1/chat/completions` streamed or whole, `/v1/embeddings`, `/v1/models`, and the feature
extraction of Hugging Face, over as many connections as come. It does little enough to stand behind
benchmarks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

CHAT: Final = "/v1/chat/completions"
EMBEDDINGS: Final = "/v1/embeddings"
MODELS: Final = "/v1/models"
FEATURES: Final = "/pipeline/feature-extraction"
EVENTS: Final = "text/event-stream"
CREATED: Final = 1767225600


@dataclass(frozen=True, slots=True)
class Request:
    """What came: names of headers are in lower case, `body` is what the JSON means."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """A response in place of the usual one."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class OpenAiServer:
    """The stand-in.

    Attributes:
        pieces: The text that it says, in the pieces in which it streams it.
        first_seconds: How long it thinks before the first piece.
        piece_seconds: How long it waits before each further piece.
        replies: Responses for the next requests in place of the usual ones.
        requests: What has come so far; empty it or leave `keeps` false where many come.
        keeps: Whether requests are kept.
    """

    def __init__(
        self, pieces: Sequence[str] = ("Grüße", " 👋"), *, first_seconds: float = 0, piece_seconds: float = 0
    ) -> None:
        self.pieces = pieces
        self.first_seconds = first_seconds
        self.piece_seconds = piece_seconds
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self.keeps = True
        self.port = 0

    @property
    def url(self) -> str:
        """The base address, `/v1` included."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _request(reader)
                if self.keeps:
                    self.requests.append(request)
                await self._answer(request, writer)
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self.replies:
            writer.write(_response(self.replies.pop(0)))
        elif request.path == CHAT and request.body.get("stream"):
            await self._stream(request.body, writer)
        elif request.path == CHAT:
            await asyncio.sleep(self.first_seconds)
            writer.write(_response(_json(self._whole(request.body["model"]))))
        elif request.path == EMBEDDINGS:
            writer.write(_response(_json(_embeddings(request.body))))
        elif request.path.endswith(FEATURES):
            writer.write(_response(_json([_vector(text, 4) for text in request.body["inputs"]])))
        elif request.path == MODELS:
            model = {"id": "stand-in", "object": "model", "created": CREATED, "owned_by": "tests"}
            writer.write(_response(_json({"object": "list", "data": [model]})))
        else:
            writer.write(_response(Reply(b"404 page not found", 404, "text/plain")))
        await writer.drain()

    async def _stream(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        head = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": body["model"],
        }
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        usage = {"usage": None} if with_usage else {}

        def event(delta: dict[str, Any], reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            return _event({**head, "choices": [choice], **usage})

        writer.write(_head(Reply(b"", content_type=EVENTS)) + b"transfer-encoding: chunked\r\n\r\n")
        writer.write(_chunk(event({"role": "assistant", "content": ""})))
        for number, piece in enumerate(self.pieces):
            if wait := self.piece_seconds if number else self.first_seconds:
                await asyncio.sleep(wait)
            writer.write(_chunk(event({"content": piece})))
            await writer.drain()
        last = event({}, "stop")
        if with_usage:
            last += _event({**head, "choices": [], "usage": self._usage()})
        writer.write(_chunk(last + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def _whole(self, model: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.pieces), "refusal": None}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": CREATED,
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": self._usage(),
        }

    def _usage(self) -> dict[str, int]:
        written = len(self.pieces)
        return {"prompt_tokens": 9, "completion_tokens": written, "total_tokens": 9 + written}


@asynccontextmanager
async def openai_server(server: OpenAiServer | None = None) -> AsyncIterator[OpenAiServer]:
    """Run a stand-in on a free port as long as the block runs."""
    server = server or OpenAiServer()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(content) if content else None)


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Return embeddings in an order that is not that of the inputs: the index says which is which."""
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size = body.get("dimensions") or 4
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, size)}
        for index, text in enumerate(inputs)
    ]
    usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    return {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}


def _vector(text: str, size: int) -> list[float]:
    """Return something that tells texts apart."""
    return [float(len(text)), *([0.5] * (size - 1))]


def _json(value: Any) -> Reply:
    return Reply(json.dumps(value).encode())


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _response(reply: Reply) -> bytes:
    return _head(reply) + b"content-length: %d\r\n\r\n" % len(reply.body) + reply.body


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} -", f"content-type: {reply.content_type}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "".join(line + "\r\n" for line in lines).encode("latin-1")
