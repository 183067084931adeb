"""Calls that nobody makes by accident."""

from __future__ import annotations

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.server import MAX_METADATA_BYTES
from services.chassis.testing import settings
from services.config import Limits
from tests.support.handlers import UNARY, Context, HandlerApplication, failure, served

MEBIBYTE = 1024 * 1024


async def test_message_that_grows_when_unpacked_is_refused_unseen() -> None:
    """64 KiB that become 64 MiB are refused by the limit for messages; the handler is not asked."""
    asked = []

    async def answer(request: StringValue, context: Context) -> StringValue:
        del context
        asked.append(len(request.value))
        return StringValue()

    chosen = settings(limits=Limits(max_message_bytes=MEBIBYTE))
    async with served(HandlerApplication(unary=answer), chosen=chosen) as up:
        failed = await failure(up.client.raw(UNARY, bytes(64 * MEBIBYTE), compression=grpc.Compression.Gzip))
        assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert asked == []
        await up.client.unary("alive")
        assert asked == [len("alive")]


async def test_metadata_beyond_the_limit_is_refused_and_what_is_below_is_not() -> None:
    """One limit, so that a call is not refused by chance; the process goes on."""
    async with served() as up:
        fits = (("x-fits", "x" * (MAX_METADATA_BYTES - 1024)),)
        for _ in range(3):
            assert (await up.client.unary("hello", metadata=fits)).value == "hello"
        failed = await failure(up.client.unary(metadata=(("x-large", "x" * MAX_METADATA_BYTES),)))
        assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await up.client.unary("alive")).value == "alive"
