"""Passing on a stream: whoever begins to answer is the one that is listened to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from inglenook.chat.v1 import ChatEvent

from services.router.routing.attempts import Course, Failed, Watch, dropped, plain
from services.router.routing.call import Metadata, Write
from services.router.routing.choice import Candidate
from services.router.routing.outcome import Next

CHAT: Final = "/inglenook.chat.v1.ChatService/Chat"


async def stream_attempt(course: Course, candidate: Candidate, write: Write) -> Metadata | Failed:
    """Have a replica stream its answer to `write`, and return its trailing metadata.

    Nothing is written before the first content, so that a failure until then can be made good elsewhere; one
    that comes later is final.
    """
    seconds = course.attempt_seconds
    passing = Passing(course, write)
    with Watch(course, candidate, seconds) as watch:
        try:
            with course.means.tracing.client_span(course.ask.method) as metadata:
                trailing = await passing.run(candidate, watch, seconds, metadata)
        except grpc.aio.AioRpcError as error:
            return _final(watch.failed(error), passing)
        except TimeoutError:
            if not passing.gave_up:
                raise
            return watch.too_slow()
        except asyncio.CancelledError:
            if not dropped():
                raise
            return _final(watch.dropped(), passing)
        watch.succeeded(trailing, began=passing.begun)
        return trailing


class Passing:
    """One attempt at a stream.

    Attributes:
        begun: Content was written; nobody else may be asked.
        gave_up: No content came within the attempt's time.
    """

    def __init__(self, course: Course, write: Write) -> None:
        self._course = course
        self._write = write
        self._held: list[bytes] = []
        self.begun = False
        self.gave_up = False

    async def run(
        self, candidate: Candidate, watch: Watch, seconds: float, metadata: list[tuple[str, str]]
    ) -> Metadata:
        """Make the call, and return its trailing metadata once all was written."""
        ask, remaining = self._course.ask, max(0.0, self._course.remaining)
        limit = asyncio.timeout(seconds if seconds < remaining else None)
        call = candidate.endpoint.stream(ask.method)(
            candidate.content, timeout=remaining, metadata=[*metadata, *ask.metadata]
        )
        try:
            async with limit:
                async for response in call:
                    if not self.begun:
                        self._held.append(response)
                        if _is_start(ask.method, response):
                            continue
                        self.begun = True
                        limit.reschedule(None)
                        watch.begun()
                        await self._release()
                    else:
                        await self._write(response)
            await self._release()
            return plain(await call.trailing_metadata())
        finally:
            self.gave_up = limit.expired()
            call.cancel()  # of a call that has ended: does nothing

    async def _release(self) -> None:
        held, self._held = self._held, []
        for response in held:
            await self._write(response)


def _final(failed: Failed, passing: Passing) -> Failed:
    if not passing.begun:
        return failed
    return replace(failed, verdict=replace(failed.verdict, next=Next.NOBODY))


def _is_start(method: str, response: bytes) -> bool:
    """Say whether a message says only who is about to answer."""
    if method != CHAT:
        return False
    try:
        return ChatEvent.FromString(response).WhichOneof("event") == "start"
    except DecodeError:
        return False
