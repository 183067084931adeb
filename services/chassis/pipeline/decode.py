"""Requests are parsed here, so that a message that is too large or malformed gets a status of ours.

gRPC's own answers are INTERNAL for bytes that do not parse and a bare text for large messages.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from google.protobuf.message import DecodeError

from services.chassis.errors import InvalidRequest, MessageTooLarge
from services.chassis.pipeline.layer import Behavior, Context, Method


class Decoding:
    """Parses request messages of at most `max_message_bytes`."""

    def __init__(self, max_message_bytes: int) -> None:
        self._limit = max_message_bytes

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner`, given what the bytes mean."""

        def decoded(content: bytes, context: Context) -> Awaitable[Any]:
            if len(content) > self._limit:
                raise MessageTooLarge(len(content), self._limit)
            try:
                request = method.deserialize(content)
            except DecodeError as error:
                kind = method.name.rpartition("/")[2]
                problem = f"the bytes are not a {kind} request; check that both sides use the same contract"
                raise InvalidRequest([("", problem)]) from error
            return inner(request, context)  # no coroutine of its own: nothing is left to do after it

        return decoded
