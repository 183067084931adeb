"""Requests that cannot be parsed, or are too large to be."""

from __future__ import annotations

import grpc
import pytest

from services.chassis.testing import settings
from services.config import Limits
from tests.support.handlers import STREAM, UNARY, failure, served

LIMIT = 1024


@pytest.mark.parametrize("method", [UNARY, STREAM])
async def test_large_message_is_refused_with_both_sizes(method: str) -> None:
    """The text of gRPC itself has no reason, and differs from version to version."""
    async with served(chosen=settings(limits=Limits(max_message_bytes=LIMIT))) as up:
        failed = await failure(up.client.raw(method, b"x" * (LIMIT + 1)))
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert failed.metadata == {"maxMessageBytes": "1024", "messageBytes": "1025"}


async def test_message_of_exactly_the_limit_is_taken() -> None:
    """The limit is what the configuration says: the largest message, not the first that is too large."""
    async with served(chosen=settings(limits=Limits(max_message_bytes=LIMIT))) as up:
        text = "x" * (LIMIT - 3)  # tag and two bytes of length
        assert (await up.client.unary(text)).value == text


@pytest.mark.parametrize("method", [UNARY, STREAM])
async def test_bytes_that_do_not_parse_are_an_invalid_request(method: str) -> None:
    """The answer of gRPC itself is INTERNAL, which blames the server for what the caller sent."""
    async with served() as up:
        failed = await failure(up.client.raw(method, b"\xff\xff\xff"))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert method.rpartition("/")[2] in failed.message


@pytest.mark.parametrize("size", [LIMIT * 4 + 1, LIMIT * 1000])
async def test_message_far_too_large_is_refused_before_it_is_in_memory(size: int) -> None:
    """Beyond the transport's slack gRPC refuses it: without details, with the right code, and alive."""
    async with served(chosen=settings(limits=Limits(max_message_bytes=LIMIT))) as up:
        failed = await failure(up.client.raw(UNARY, b"x" * size))
        assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await up.client.unary("alive")).value == "alive"
