"""HTTP to one provider: keys in headers, no redirects, as many requests at a time as allowed.

The only module that knows the HTTP client. What goes wrong on the way becomes a `Failure`; no address, header
or body is ever part of a message.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, Self

import httpx2

from services.chat.providers.dialect import Outgoing, json_array, json_object
from services.chat.providers.errors import MESSAGES, ErrorResponse
from services.chat.providers.failure import DO_NOT_RETRY, Failure, FailureKind, Told
from services.config import AnyProvider, Secret
from services.version import VERSION

MAX_ERROR_BYTES: Final = 64 * 1024
MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024
ERROR_BODY_SECONDS: Final = 5.0
KEEP_ALIVE_SECONDS: Final = 15.0
"""Shorter than the servers' own limits, so that a request rarely meets a connection that is being closed."""
FORBIDDEN: Final = "the configuration does not allow to call it any more"
USER_AGENT: Final = f"inglenook/{VERSION}"

for _name in ("httpx2", "httpcore2"):
    # At lower levels they log addresses and whatever headers a provider sends.
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a provider.

    Attributes:
        url: Base address, without a slash at its end.
        secret_headers: Headers that hold keys; revealed when a request is sent and not before.
        headers: Other headers that every request has.
        connect_timeout_seconds: How long opening a connection may take.
        max_concurrent_requests: Most requests at a time.
        max_waiting_requests: Most that wait for their turn.
        uses_proxies: Whether the environment's proxies are used, as for anything outside the house.
    """

    url: str
    secret_headers: Mapping[str, tuple[str, Secret]]
    headers: Mapping[str, str]
    connect_timeout_seconds: float
    max_concurrent_requests: int
    max_waiting_requests: int
    uses_proxies: bool

    @classmethod
    def of(
        cls,
        section: AnyProvider,
        url: str,
        secret_headers: Mapping[str, tuple[str, Secret]],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """Return the way to a provider at `url`, with what the configuration says besides."""
        return cls(
            url=url.rstrip("/"),
            secret_headers=secret_headers,
            headers=headers,
            connect_timeout_seconds=section.connect_timeout_seconds,
            max_concurrent_requests=section.max_concurrent_requests,
            max_waiting_requests=section.max_waiting_requests,
            uses_proxies=section.tier != "local",
        )


class Connection:
    """Requests to one provider.

    Attributes:
        access: How it is reached.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._forbidden = False
        self._free = asyncio.Semaphore(access.max_concurrent_requests)
        self._waiting = 0
        most = access.max_concurrent_requests
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=access.connect_timeout_seconds),
            limits=httpx2.Limits(
                max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEP_ALIVE_SECONDS
            ),
            follow_redirects=False,  # a key must not follow
            verify=_tls(),
            trust_env=access.uses_proxies,
        )
        self._headers = {
            "user-agent": USER_AGENT,
            "accept": "*/*",
            # Compression holds back the pieces of a stream; whoever compresses anyway is understood.
            "accept-encoding": "identity",
            **access.headers,
        }

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one more request may be sent, and count it while the block runs.

        Raises:
            Failure: BUSY: too many wait already.
        """
        if self._free.locked() and self._waiting >= self.access.max_waiting_requests:
            raise Failure(FailureKind.BUSY, MESSAGES[FailureKind.BUSY], Told(retry_after_seconds=1.0))
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    def send(self, outgoing: Outgoing) -> AbstractAsyncContextManager[httpx2.Response]:
        """Send a request and open its response. The caller keeps the time.

        Raises:
            Failure: Nothing may be sent any more.
        """
        if self._forbidden:
            raise Failure(FailureKind.AUTHENTICATION, FORBIDDEN, DO_NOT_RETRY)
        return self._client.stream(
            "GET" if outgoing.body is None else "POST",
            self.access.url + outgoing.path,
            content=None if outgoing.body is None else _encoded(outgoing.body),
            headers=self._all_headers(outgoing),
        )

    def forbid(self) -> None:
        """Send nothing any more."""
        self._forbidden = True

    async def fetch(self, outgoing: Outgoing, timeout_seconds: float) -> dict[str, Any] | ErrorResponse:
        """Send a request and return the JSON object that answers it, or the error that does.

        Raises:
            Failure: There was no response in time, or none that can be understood.
        """
        body = await self._fetch(outgoing, timeout_seconds)
        return body if isinstance(body, ErrorResponse) else json_object(body)

    async def fetch_array(self, outgoing: Outgoing, timeout_seconds: float) -> list[Any] | ErrorResponse:
        """Do what `fetch` does, for requests that a JSON array answers."""
        body = await self._fetch(outgoing, timeout_seconds)
        return body if isinstance(body, ErrorResponse) else json_array(body)

    async def _fetch(self, outgoing: Outgoing, timeout_seconds: float) -> bytes | ErrorResponse:
        try:
            async with asyncio.timeout(timeout_seconds), self.turn():
                with transport_failures(begun=False):
                    async with self.send(outgoing) as response:
                        if response.status_code != HTTPStatus.OK:
                            return await error_response(response)
                        return await _read(response, MAX_DOCUMENT_BYTES)
        except TimeoutError as error:
            raise Failure(FailureKind.TIMEOUT, MESSAGES[FailureKind.TIMEOUT]) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _all_headers(self, outgoing: Outgoing) -> dict[str, str]:
        secrets = {
            name: _sendable(prefix + secret.reveal())
            for name, (prefix, secret) in self.access.secret_headers.items()
        }
        content = {} if outgoing.body is None else {"content-type": "application/json"}
        return {**self._headers, **content, **outgoing.headers, **secrets}


async def error_response(response: httpx2.Response) -> ErrorResponse:
    """Return the beginning of a response that is no answer; the rest is not waited for."""
    body = b""
    try:
        async with asyncio.timeout(ERROR_BODY_SECONDS):
            body = await _read(response, MAX_ERROR_BYTES, cut=True)
    except (TimeoutError, Failure, httpx2.HTTPError):
        pass  # the status says enough
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ErrorResponse(response.status_code, headers, body)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return what checks certificates, one for all: reading the authorities takes 30 ms each time."""
    return httpx2.create_ssl_context()


@contextmanager
def transport_failures(*, begun: bool) -> Iterator[None]:
    """Turn what the HTTP client raises into a `Failure`; `begun` says whether the answer had begun."""
    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        message = "the provider's address cannot be used; check its url"
        raise Failure(FailureKind.UNAVAILABLE, message, Told(should_retry=False, reached=False)) from error
    except httpx2.DecodingError as error:
        raise Failure(FailureKind.MALFORMED, "the response cannot be decompressed") from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        message = "no connection to the provider; check that it runs and that its url is right"
        raise Failure(FailureKind.UNAVAILABLE, message, Told(reached=False)) from error
    except httpx2.HTTPError:  # not kept as the cause: it may quote what was sent or received
        if begun:
            raise Failure(FailureKind.BROKEN_OFF, MESSAGES[FailureKind.BROKEN_OFF]) from None
        message = "the provider closed the connection without an answer"
        raise Failure(FailureKind.UNAVAILABLE, message) from None


async def _read(response: httpx2.Response, limit: int, *, cut: bool = False) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > limit:
            if cut:
                break
            raise Failure(FailureKind.MALFORMED, f"the response is longer than {limit} bytes")
    return b"".join(parts)[:limit]


def _sendable(value: str) -> str:
    """Return a header's value if it may be one: the HTTP client would quote it in its complaint."""
    if not (value.isascii() and value.isprintable()):
        message = "the key has characters that cannot be sent; check api_key"
        raise Failure(FailureKind.AUTHENTICATION, message, DO_NOT_RETRY)
    return value


def _encoded(body: Mapping[str, Any]) -> bytes:
    """Return compact JSON. Halves of characters, which JSON in a request can hold, are replaced."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
