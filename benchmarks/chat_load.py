"""The load generator for chat: callers in a closed loop, in a process of their own.

`python -m benchmarks.chat_load --help` runs it against a router, a chat service, or directly against
`benchmarks.chat_upstream`, whose tokens say when they were sent. `direct` is a bare socket, the least that a
call can cost; `httpx2` is the HTTP client that a program would make the call with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, get_args

from services.config import environment

environment.prepare_native_libraries()

# Only now: gRPC reads its environment once, when it is imported.
import grpc  # noqa: E402
import httpx2  # noqa: E402
import uvloop  # noqa: E402
from inglenook.chat.v1 import ChatEvent, ChatRequest, Message, Part, Role  # noqa: E402

Way = Literal["direct", "httpx2", "chat", "complete", "slow"]

SERVICE: Final = "/inglenook.chat.v1.ChatService"
TOKEN: Final = re.compile(rb" (\d{16})")
LAST: Final = b"0\r\n\r\n"
PROMPT: Final = "How many roads must a man walk down?"
TIMEOUT_SECONDS: Final = 120.0


@dataclass(slots=True)
class Tally:
    """What the callers saw. Times are in seconds.

    Attributes:
        seconds: From the first request to the last answer.
        latencies: From request to the end of the answer, per call.
        first_tokens: From request to the first token, per call.
        delays: From a token's being sent by the provider to its being read, per token.
        longest_gap: Longest time between two tokens of one answer.
        stalls: Gaps over 200 ms.
        failures: Status codes, or what else went wrong.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    longest_gap: float = 0.0
    stalls: int = 0
    failures: list[str] = field(default_factory=list)


STALL_SECONDS: Final = 0.2
SLOW_SECONDS: Final = 0.25
"""How long a slow reader waits between two events."""


class Caller:
    """Makes calls one after the other and notes what it sees."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    async def call(self, contents: AsyncIterator[bytes]) -> None:
        """Read one answer that comes in `contents`."""
        began = last = time.monotonic()
        first = True
        async for content in contents:
            now = time.monotonic()
            sent = [int(token) for token in TOKEN.findall(content)]
            if not sent:
                continue
            if first:
                self._tally.first_tokens.append(now - began)
            else:
                self._tally.longest_gap = max(self._tally.longest_gap, now - last)
                self._tally.stalls += now - last > STALL_SECONDS
            first, last = False, now
            self._tally.delays.extend(now - one / 1e6 for one in sent)
        self._tally.latencies.append(time.monotonic() - began)


async def run(options: argparse.Namespace) -> Tally:
    """Make calls with `options.callers` of them under way at any time."""
    tally = Tally()
    ways = {"direct": _run_direct, "httpx2": _run_client}
    await ways.get(options.way, _run_cluster)(options, tally)
    return tally


async def _run_direct(options: argparse.Namespace, tally: Tally) -> None:
    host, _, port = options.address.rpartition(":")
    body = json.dumps(
        {"model": options.model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    ).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: upstream\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    waiting = iter(range(options.calls))

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))

        async def contents() -> AsyncIterator[bytes]:
            writer.write(request)
            tail = b""
            while not tail.endswith(LAST):
                content = await reader.read(65_536)
                if not content:
                    message = "the upstream closed the connection"
                    raise ConnectionError(message)
                tail = (tail + content)[-len(LAST) :]
                yield content

        one = Caller(tally)
        for _ in waiting:
            await one.call(contents())
        writer.close()

    await _timed(tally, [caller() for _ in range(options.callers)])


async def _run_client(options: argparse.Namespace, tally: Tally) -> None:
    body = {"model": options.model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    waiting = iter(range(options.calls))
    async with httpx2.AsyncClient(base_url=f"http://{options.address}", timeout=TIMEOUT_SECONDS) as client:

        async def contents() -> AsyncIterator[bytes]:
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for content in response.aiter_bytes():
                    yield content

        async def caller() -> None:
            one = Caller(tally)
            for _ in waiting:
                await one.call(contents())

        await _timed(tally, [caller() for _ in range(options.callers)])


async def _run_cluster(options: argparse.Namespace, tally: Tally) -> None:
    request = ChatRequest(
        model=options.model, messages=[Message(role=Role.ROLE_USER, parts=[Part(text=PROMPT)])]
    ).SerializeToString()
    waiting = iter(range(options.calls))
    async with grpc.aio.insecure_channel(options.address, options=[("grpc.enable_retries", 0)]) as channel:
        complete: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{SERVICE}/Complete")
        chat: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"{SERVICE}/Chat")

        async def whole() -> AsyncIterator[bytes]:
            yield await complete(request, timeout=TIMEOUT_SECONDS)

        async def streamed() -> AsyncIterator[bytes]:
            async for content in chat(request, timeout=TIMEOUT_SECONDS):
                yield ChatEvent.FromString(content).delta.text.encode()

        async def slowly() -> AsyncIterator[bytes]:
            until = time.monotonic() + options.seconds
            call = chat(request, timeout=TIMEOUT_SECONDS)
            while time.monotonic() < until:
                content = await call.read()
                if not isinstance(content, bytes):
                    break
                yield content
                await asyncio.sleep(SLOW_SECONDS)
            call.cancel()

        contents = {"complete": whole, "chat": streamed, "slow": slowly}[options.way]

        async def caller() -> None:
            one = Caller(tally)
            for _ in waiting:
                try:
                    await one.call(contents())
                except grpc.aio.AioRpcError as error:
                    tally.failures.append(error.code().name)

        await _timed(tally, [caller() for _ in range(options.callers)])


async def _timed(tally: Tally, callers: list[Coroutine[None, None, None]]) -> None:
    began = time.monotonic()
    await asyncio.gather(*callers)
    tally.seconds = time.monotonic() - began


def main() -> None:
    """Print a tally as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat_load", description=__doc__)
    parser.add_argument("--address", required=True, help="host:port")
    parser.add_argument("--way", choices=get_args(Way), required=True)
    parser.add_argument("--model", required=True, help="direct: as the upstream calls it")
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5.0, help="slow only: when a reader leaves")
    json.dump(asdict(uvloop.run(run(parser.parse_args()))), sys.stdout)


if __name__ == "__main__":
    main()
