"""Sends bytes to methods of a process, many at a time, and writes down what comes back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import status_pb2

from services.chassis.status import DETAILS_KEY
from services.chassis.testing import read_failure
from tests.fuzz.dice import CANARY

IN_FLIGHT: Final = 64
DEADLINE_SECONDS: Final = 20.0
HANG_SECONDS: Final = 5.0
"""A call that has not ended this long after its deadline hangs."""
TRACES: Final = ("Traceback", 'File "', "Unexpected <class", "object at 0x")
MOST_TOLD: Final = 5
TRANSPORT: Final = frozenset({"RESOURCE_EXHAUSTED"})
"""Codes that gRPC itself answers with, without details: more bytes than it takes in."""


@dataclass
class Outcome:
    """What came of many messages.

    Attributes:
        where: Which process and method.
        codes: How many calls ended with which code and reason.
        slowest_seconds: The longest call.
        wrong: What must not have happened, with the bytes that brought it about.
        grown_bytes: How much memory the process took more at the end than at the beginning.
        memory_bytes: How much it took at the end.
    """

    where: str
    codes: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    grown_bytes: int = 0
    memory_bytes: int = 0

    def complain(self, what: str, content: bytes) -> None:
        """Write down that something went wrong."""
        if len(self.wrong) < MOST_TOLD:
            self.wrong.append(f"{self.where}: {what}; sent {content[:400]!r} ({len(content)} bytes)")

    def row(self) -> str:
        """Return a line of the table."""
        told = ", ".join(f"{count} {code}" for code, count in self.codes.most_common(6))
        memory = f"{self.memory_bytes / 2**20:.0f} ({self.grown_bytes / 2**20:+.1f})"
        slowest = f"{self.slowest_seconds * 1000:.0f} ms"
        return f"| {self.where} | {self.codes.total()} | {told} | {slowest} | {memory} |"


OUTCOMES: Final[list[Outcome]] = []


def table() -> list[str]:
    """Return everything that was found out, as a table in Markdown."""
    heads = [
        "| where | messages | what they ended with | slowest | RSS in MiB (grown) |",
        "|---|---|---|---|---|",
    ]
    return [*heads, *(outcome.row() for outcome in OUTCOMES)]


async def send_all(
    channel: grpc.aio.Channel, method: MethodDescriptor, contents: Iterable[bytes], outcome: Outcome
) -> None:
    """Send all of it to a method, `IN_FLIGHT` at a time."""
    waiting: Iterator[bytes] = iter(contents)
    name = f"/{method.containing_service.full_name}/{method.name}"
    make: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    begin = make(name)

    async def keep_sending() -> None:
        for content in waiting:
            await _send(begin, content, outcome, streams=method.server_streaming)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(keep_sending())


async def _send(begin: Any, content: bytes, outcome: Outcome, *, streams: bool) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS + HANG_SECONDS):
            call = begin(content, timeout=DEADLINE_SECONDS)
            if streams:
                async for _ in call:
                    pass
            else:
                await call
        outcome.codes["OK"] += 1
    except TimeoutError:
        outcome.codes["HANG"] += 1
        outcome.complain("the call hangs", content)
    except grpc.aio.AioRpcError as error:
        _judge(error, content, outcome)
    outcome.slowest_seconds = max(outcome.slowest_seconds, time.monotonic() - began)


def _judge(error: grpc.aio.AioRpcError, content: bytes, outcome: Outcome) -> None:
    failure = read_failure(error)
    code = failure.code.name
    outcome.codes[f"{code} {failure.reason}".strip()] += 1
    if code == "DEADLINE_EXCEEDED":
        outcome.complain(f"no answer within {DEADLINE_SECONDS:g} s", content)
    if code == "INTERNAL" and failure.reason != "INVALID_OUTPUT":
        identity = failure.metadata.get("errorId", "")
        outcome.complain(f"INTERNAL {failure.reason}, id {identity or 'MISSING'}: {failure.message}", content)
    if code == "UNKNOWN" or (not failure.reason and code not in TRANSPORT):
        outcome.complain(f"{code} without a reason: {failure.message}", content)
    told = failure.message + _details(error)
    if any(trace in told for trace in TRACES):
        outcome.complain(f"{code} tells of the program: {failure.message}", content)
    if CANARY in told:
        outcome.complain(f"{code} repeats what was sent: {failure.message}", content)


def _details(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return str(status_pb2.Status.FromString(value))
    return ""
