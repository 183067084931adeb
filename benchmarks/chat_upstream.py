"""A provider that costs next to nothing: it speaks OpenAI's stream and answers at once, or at a steady pace.

What it does is in the name of the model: `instant-20` sends 20 tokens with the head of the response,
`paced-50-200` sends 200 tokens, 50 in a second, `flood-1000000` sends as many tokens as the connection takes.
Each token carries the time at which it was sent, so that a reader knows how long it was on its way.

`python -m benchmarks.chat_upstream` prints its port and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final, cast

import uvloop

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST: Final = b"0\r\n\r\n"
HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length: "


def event(choice: dict[str, object], **more: object) -> bytes:
    """Return one chunk of a stream as an HTTP chunk."""
    data = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **more,
    }
    return chunk(b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n")


def chunk(content: bytes) -> bytes:
    """Return an HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def token() -> bytes:
    """Return a token that says when it was sent, in microseconds of the monotonic clock, 16 digits."""
    text = f" {time.monotonic_ns() // 1000:016d}"
    return event({"index": 0, "delta": {"content": text}, "finish_reason": None})


ROLE: Final = event({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})


def ending(tokens: int) -> bytes:
    """Return what ends an answer of so many tokens."""
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    stop = event({"index": 0, "delta": {}, "finish_reason": "stop"})
    return stop + event({"index": 0, "delta": {}}, usage=usage) + chunk(b"data: [DONE]\n\n") + LAST


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._answering: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own are not of that class

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering."""
        del exc
        if self._answering is not None:
            self._answering.cancel()

    def pause_writing(self) -> None:
        """Wait for the reader."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._received += data
        head, separator, body = self._received.partition(HEAD_END)
        if not separator:
            return
        after = head.lower().partition(LENGTH)[2]
        if len(body) < int(after.partition(b"\r\n")[0] or 0):
            return
        self._received = b""
        kind, *numbers = json.loads(body)["model"].split("-")
        assert self._transport is not None
        if kind == "instant":
            count = int(numbers[0])
            tokens = b"".join(token() for _ in range(count))
            self._transport.write(HEAD + ROLE + tokens + ending(count))
            return
        pace = int(numbers[0]) if kind == "paced" else 0
        self._answering = asyncio.ensure_future(self._answer(pace, int(numbers[-1])))

    async def _answer(self, per_second: int, count: int) -> None:
        assert self._transport is not None
        self._transport.write(HEAD + ROLE)
        began = time.monotonic()
        for number in range(count):
            if per_second and (wait := began + number / per_second - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif not per_second:
                await asyncio.sleep(0)  # a connection without end must not starve the others
            await self._writable.wait()
            self._transport.write(token())
        self._transport.write(ending(count))


async def serve() -> None:
    """Serve until standard input is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
