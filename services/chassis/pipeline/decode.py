"""Requests are parsed here, so that a message that is too large or malformed gets a status of ours.

gRPC's own answers are INTERNAL for bytes that do not parse and a bare text for large messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import DecodeError

from services.chassis.errors import InvalidRequest, MessageTooLarge
from services.chassis.pipeline.layer import Context, Handler, behaviors, rebuild


class Decoding:
    """Parses request messages of at most `max_message_bytes`."""

    def __init__(self, max_message_bytes: int) -> None:
        self._limit = max_message_bytes

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return `handler`, parsing for itself; one without a deserializer goes on seeing bytes."""
        deserialize = handler.request_deserializer or bytes
        inner_unary, inner_stream = behaviors(handler)

        def decode(content: bytes) -> Any:
            if len(content) > self._limit:
                raise MessageTooLarge(len(content), self._limit)
            try:
                return deserialize(content)
            except DecodeError as error:
                kind = method.rpartition("/")[2]
                problem = f"the bytes are not a {kind} request; check that both sides use the same contract"
                raise InvalidRequest([("", problem)]) from error

        async def unary(content: bytes, context: Context) -> Any:
            return await inner_unary(decode(content), context)

        async def stream(content: bytes, context: Context) -> AsyncIterator[Any]:
            async for response in inner_stream(decode(content), context):
                yield response

        return rebuild(handler, unary, stream, raw=True)
