"""One HTTP request: who asks, what came, for how long it may take, and the calls that it makes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.types import Message as SendMessage
from starlette.types import Send

from services.chassis.errors import DeadlinePassed, InvalidRequest, MessageTooLarge
from services.chassis.local import LocalCalls, LocalContext, Write
from services.chassis.pipeline.translate import SERVED_BY_KEY
from services.config import Limits
from services.router.http.body import in_turns, parse

TIMEOUT_HEADER: Final = "x-request-timeout-seconds"
SDK_TIMEOUT_HEADER: Final = "x-stainless-read-timeout"
"""OpenAI's clients say with it how long they wait."""
MAX_TIMEOUT_SECONDS: Final = 86_400.0
SLACK: Final = 4
"""A body up to so many times the limit is read and forgotten, so that the refusal can be read, too."""
RELAYED: Final = frozenset(
    {"traceparent", "tracestate", "user-agent", "authorization", "x-api-key", "inglenook-cache"}
)
"""Headers that go on as metadata of calls."""
READING: Final = frozenset({"POST"})
"""Methods whose requests have a body."""
JSON: Final = "application/json"

T = TypeVar("T")


class Refused(Exception):
    """The request is refused for a reason that only HTTP knows.

    Attributes:
        status: HTTP status.
        code: For programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class CallerLeft(Exception):
    """The connection is gone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call with one response gave.

    Attributes:
        content: The response message as bytes.
        headers: Who computed it.
    """

    content: bytes
    headers: Mapping[str, str]

    async def read(self, tell: Callable[[bytes], T]) -> T:
        """Return what `tell` makes of the response message."""
        return await in_turns(len(self.content), tell, self.content)


class Exchange:
    """A request that is being answered.

    Args:
        request: What came.
        send: ASGI's; only streams need it.
        calls: Makes calls of the router's methods.
        limits: How much is accepted.

    Attributes:
        body: The JSON object that came; empty until `read` and for GET.
        reads: Whether a body belongs to the request.
        unread: Whether a part of the body may not have been read.
        answered: Whether the response has begun.
    """

    def __init__(self, request: Request, send: Send, calls: LocalCalls, limits: Limits) -> None:
        self.request = request
        self._send = send
        self.body: Mapping[str, Any] = {}
        self.reads = request.method in READING
        self.unread = self.reads
        self.answered = False
        self._calls = calls
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._due = math.inf
        self._size = 0

    def begin(self) -> None:
        """Find out how long the caller waits, from now.

        Raises:
            InvalidRequest: It says so in a way that cannot be understood.
        """
        self._due = self._loop.time() + self._timeout()

    async def read(self) -> None:
        """Read the body.

        Raises:
            Refused: It is not JSON, or comes from a web page.
            MessageTooLarge: It has too many bytes.
            InvalidRequest: It is not a JSON object.
            DeadlinePassed: It did not come in time.
            CallerLeft: It will not come.
        """
        headers = self.request.headers
        if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise Refused(415, "unsupported_media_type", f"the content type must be {JSON}")
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "unsupported_media_type", "bodies must not be compressed")
        try:
            async with asyncio.timeout_at(self._due):
                content = await self._content()
        except TimeoutError as error:
            raise DeadlinePassed from error
        self.unread = False
        self._size = len(content)
        self.body = await in_turns(self._size, parse, content)

    async def asked(self, read: Callable[[Mapping[str, Any]], T]) -> T:
        """Return what `read` makes of the body."""
        return await in_turns(self._size, read, self.body)

    async def forget(self) -> None:
        """Take the body and keep nothing of it, so that the caller comes to read why it is refused.

        One that is too large, or does not say how large it is, is left where it is.

        Raises:
            CallerLeft: It will not come.
        """
        announced = self.request.headers.get("content-length", "")
        if not announced.isdecimal() or int(announced) > self._limits.max_message_bytes:
            return
        more = True
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._due):
                while more:
                    message = await self.request.receive()
                    if message["type"] != "http.request":
                        raise CallerLeft
                    more = message.get("more_body", False)
        self.unread = more

    async def call(self, method: str, message: Message, write: Write | None = None) -> Outcome:
        """Call a method (`/package.Service/Method`); a stream of responses goes to `write`.

        Raises:
            LocalCallFailed: It ended with another status than OK.
        """
        headers = self.request.headers.items()
        metadata = tuple((name, _plain(value)) for name, value in headers if name in RELAYED)
        remaining = max(0.0, self._due - self._loop.time())
        context = LocalContext(remaining, metadata, _peer(self.request), write)
        content = await self._calls.call(method, message.SerializeToString(), context)
        served_by = dict(context.trailing_metadata()).get(SERVED_BY_KEY)
        return Outcome(content, {f"x-{SERVED_BY_KEY}": str(served_by)} if served_by else {})

    async def send(self, message: SendMessage) -> None:
        """Send a part of the response that the handler makes itself."""
        self.answered = True
        await self._send(message)

    async def _content(self) -> bytes:
        limit, size, pieces = self._limits.max_message_bytes, 0, []
        announced = self.request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > SLACK * limit:
            raise MessageTooLarge(int(announced), limit)
        more = True
        while more:
            message = await self.request.receive()
            if message["type"] != "http.request":
                raise CallerLeft
            piece, more = message.get("body", b""), message.get("more_body", False)
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
            elif size > SLACK * limit:
                raise MessageTooLarge(size, limit)
            else:
                pieces.clear()
        if size > limit:
            self.unread = False
            raise MessageTooLarge(size, limit)
        return b"".join(pieces)

    def _timeout(self) -> float:
        headers = self.request.headers
        if (told := headers.get(TIMEOUT_HEADER)) is not None:
            seconds = _seconds(told)
            if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
                problem = f"must be a number of seconds above 0 and at most {MAX_TIMEOUT_SECONDS:g}"
                raise InvalidRequest([(TIMEOUT_HEADER, problem)])
            return seconds
        seconds = _seconds(headers.get(SDK_TIMEOUT_HEADER, ""))
        return seconds if 0 < seconds <= MAX_TIMEOUT_SECONDS else self._limits.default_timeout_seconds


def _plain(value: str) -> str:
    """Return a header's value as metadata can carry it, without what is not ASCII."""
    return value.encode("ascii", "replace").decode("ascii")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _peer(request: Request) -> str:
    """Return who asks, as gRPC would write it."""
    if request.client is None:
        return ""
    host, port = request.client
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
