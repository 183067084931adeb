"""Answers of Chat Completions, streamed: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from inglenook.chat.v1 import ChatEvent, Delta, Finish, Start, ToolCallDelta

from services.router.http.chat_answer import dollars, extra, finish_reason, usage

Chunk = dict[str, Any]


class ChunkWriter:
    """Writes the events of one answer as chunks.

    Args:
        with_usage: Say at the end which tokens were used; all chunks before that then say null.

    Attributes:
        finished: Whether the answer has come to its end.
        start: Who answers, once that is known.
    """

    def __init__(self, *, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._created = int(time.time())
        self._kinds: dict[int, str] = {}
        self._calls: dict[int, int] = {}
        self.start = Start()
        self.finished = False

    def chunks(self, event: ChatEvent) -> Iterator[Chunk]:
        """Yield the chunks that an event stands for."""
        match event.WhichOneof("event"):
            case "start" if not self.start.response_id:
                self.start = event.start
                yield self._chunk({"role": "assistant", "content": ""})
            case "delta":
                yield self._chunk(self._delta(event.delta))
            case "finish":
                self.finished = True
                yield from self._finish(event.finish)
            case _:
                pass  # usage so far, of which the last is in `finish`; another target that goes on

    def _delta(self, delta: Delta) -> Chunk:
        place, kind = delta.part_index, delta.WhichOneof("kind")
        if kind == "signature":
            if place in self._calls:
                return {"tool_calls": [{"index": self._calls[place], **extra(delta.signature)}]}
            return extra(delta.signature, self._kinds.get(place, "reasoning"))
        if kind == "tool_call":
            return {"tool_calls": [self._call(place, delta.tool_call)]}
        self._kinds[place] = "text" if kind == "text" else "reasoning"
        return {"content": delta.text} if kind == "text" else {"reasoning_content": delta.reasoning}

    def _call(self, place: int, piece: ToolCallDelta) -> Chunk:
        """Return a piece of a tool call; what identifies it is in the first one only."""
        if place in self._calls:
            return {"index": self._calls[place], "function": {"arguments": piece.arguments}}
        index = self._calls[place] = len(self._calls)
        function = {"name": piece.name, "arguments": piece.arguments}
        return {"index": index, "id": piece.id, "type": "function", "function": function}

    def _finish(self, finish: Finish) -> Iterator[Chunk]:
        last = self._chunk({}, finish_reason(finish))
        ours: Chunk = {"cost_usd": dollars(finish)} if finish.HasField("cost") else {}
        if finish.cached:
            ours["cached"] = True
        yield {**last, "inglenook": ours} if ours else last
        used = usage(finish.usage)
        if self._with_usage and used is not None:
            yield {**self._head(), "choices": [], "usage": used}

    def _chunk(self, delta: Chunk, reason: str | None = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head(), "choices": [choice], **({"usage": None} if self._with_usage else {})}

    def _head(self) -> Chunk:
        return {
            "id": self.start.response_id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.start.model,
        }
