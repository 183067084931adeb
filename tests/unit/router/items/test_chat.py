"""Answers of chat models: kept where a call asks for it and leaves nothing to chance, and only whole ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from inglenook.chat.v1 import (
    Attempt,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    CompleteRequest,
    Delta,
    Finish,
    FinishReason,
    Message,
    Role,
    Start,
)
from inglenook.chat.v1 import Cost as WireCost
from prometheus_client import CollectorRegistry

from services.config.sections.cache import Cache as CacheSection
from services.config.sections.models import ChatModel
from services.config.sections.providers import OllamaProvider
from services.router.cache.cache import open_cache
from services.router.cache.metrics import CacheMetrics
from services.router.items.chat import CHAT, COMPLETE, events_of, replayed
from services.router.routing.call import Answer, Ask, Metadata, Write
from services.router.servicer.chat import ChatServicer
from tests.support.item_desk import ItemContext, settled

STOP = FinishReason.FINISH_REASON_STOP
TRAILING = (("inglenook-served-by", "chat:1"),)


def finish(reason: FinishReason.ValueType = STOP, attempts: int = 1) -> Finish:
    """Return how an answer ended, that has cost something."""
    tries = [Attempt(provider="p", upstream_model="u")] * attempts
    return Finish(reason=reason, attempts=tries, cost=WireCost(nano_usd=7))


class Stage:
    """The servicer of chat, in front of a backend that counts its answers.

    Attributes:
        asked: What it was asked.
        end: How its answers end.
        text: What they say, if it is not a number that is never the same.
        held: What the backend waits for.
    """

    width = 1
    capability = "chat"

    def __init__(self, url: str = "memory:", targets: Sequence[str] = ("p/u",)) -> None:
        self.asked: list[Ask] = []
        self.end = finish()
        self.text = ""
        self.held = asyncio.Event()
        self.held.set()
        self.cache = open_cache(CacheSection(url=url), CacheMetrics(CollectorRegistry()))
        model = ChatModel(capability="chat", targets=tuple(targets))
        self.providers = {"p": OllamaProvider(type="ollama")}
        self.configuration: Any = SimpleNamespace(models={"m": model}, all_providers=lambda: self.providers)
        self.routes = {"chat": self}
        self.servicer = ChatServicer("chat", self)  # type: ignore[arg-type]  # of the same shape

    def timeout(self, remaining: float | None) -> float:
        """Return how long a call may take."""
        return 60.0 if remaining is None else remaining

    @contextmanager
    def use(self) -> Iterator[Any]:
        """Give itself."""
        yield self

    async def unary(self, ask: Ask) -> Answer:
        """Answer Complete."""
        self.asked.append(ask)
        await self.held.wait()
        response = ChatResponse(response_id=f"r{len(self.asked)}", model="m", finish=self.end)
        response.message.CopyFrom(Message(role=Role.ROLE_ASSISTANT))
        return Answer(response.SerializeToString(), TRAILING)

    async def stream(self, ask: Ask, write: Write) -> Metadata:
        """Answer Chat."""
        self.asked.append(ask)
        text = self.text or f"answer {len(self.asked)}"
        events = [
            ChatEvent(start=Start(response_id=f"r{len(self.asked)}", model="m")),
            ChatEvent(delta=Delta(text=text)),
            ChatEvent(finish=self.end),
        ]
        for event in events:
            await write(event.SerializeToString())
        return TRAILING

    async def complete(self, request: CompleteRequest, mode: str | None = "on") -> tuple[ChatResponse, str]:
        """Return the answer to a call, and what the cache was to it."""
        context: Any = ItemContext(mode, None)
        content = await self.servicer.complete(COMPLETE, request.SerializeToString(), context)
        return ChatResponse.FromString(content), dict(context.trailing)["inglenook-cache"]

    async def chat(self, request: ChatRequest, mode: str | None = "on") -> tuple[list[ChatEvent], str]:
        """Return the events of a call, and what the cache was to it."""
        context: Any = ItemContext(mode, None)
        await self.servicer.chat(CHAT, request.SerializeToString(), context)
        return list(map(ChatEvent.FromString, context.written)), dict(context.trailing)["inglenook-cache"]


def request_of(kind: Any, **more: Any) -> Any:
    """Return a request that leaves nothing to chance."""
    turn = Message(role=Role.ROLE_USER)
    return kind(messages=[turn], **{"temperature": 0.0, **more})


async def test_an_answer_is_replayed_and_says_so() -> None:
    """The same response, but that nobody was asked and it has cost nothing."""
    stage = Stage()
    first, missed = await stage.complete(request_of(CompleteRequest))
    second, hit = await stage.complete(request_of(CompleteRequest, model="m", metadata={"who": "me"}))
    assert (missed, hit, len(stage.asked)) == ("miss", "hit", 1)
    assert (first.finish.cached, second.finish.cached) == (False, True)
    assert second.finish.cost == WireCost(nano_usd=0)
    assert second.finish.HasField("cost")
    for finished in (first.finish, second.finish):
        finished.ClearField("cached")
        finished.ClearField("cost")
    assert first == second


async def test_a_stream_is_replayed_as_a_stream() -> None:
    """Event by event, and its end says that it was kept."""
    stage = Stage()
    first, missed = await stage.chat(request_of(ChatRequest, seed=1))
    second, hit = await stage.chat(request_of(ChatRequest, seed=1))
    assert (missed, hit, len(stage.asked)) == ("miss", "hit", 1)
    assert first[:-1] == second[:-1]
    assert not first[-1].finish.cached
    assert second[-1].finish.cached
    assert second[-1].finish.cost == WireCost(nano_usd=0)
    assert second[-1].finish.attempts == first[-1].finish.attempts


async def test_both_methods_keep_for_themselves() -> None:
    """A response is no list of events."""
    stage = Stage()
    await stage.complete(request_of(CompleteRequest))
    _, result = await stage.chat(request_of(ChatRequest))
    assert result == "miss"


@pytest.mark.parametrize("mode", [None, "off"])
async def test_nothing_is_kept_unless_a_call_asks_for_it(mode: str | None) -> None:
    """Chat is passed on, as long as nobody says otherwise."""
    stage = Stage()
    for _ in range(2):
        _, result = await stage.complete(request_of(CompleteRequest), mode)
        assert result == "bypass"
        _, result = await stage.chat(request_of(ChatRequest), mode)
        assert result == "bypass"
    assert len(stage.asked) == 4


@pytest.mark.parametrize(
    "request_",
    [
        CompleteRequest(messages=[Message(role=Role.ROLE_USER)]),
        CompleteRequest(messages=[Message(role=Role.ROLE_USER)], temperature=0.5),
        CompleteRequest(messages=[Message(role=Role.ROLE_USER)], temperature=0, model="unknown"),
    ],
)
async def test_what_is_left_to_chance_is_passed_on(request_: CompleteRequest) -> None:
    """Two calls of it want two answers; and a model that is not configured is for the backend to judge."""
    stage = Stage()
    for _ in range(2):
        _, result = await stage.complete(request_, "on")
        assert result == "bypass"
    assert [ask.content for ask in stage.asked] == [request_.SerializeToString()] * 2


@pytest.mark.parametrize(
    "end",
    [
        finish(FinishReason.FINISH_REASON_LENGTH),
        finish(FinishReason.FINISH_REASON_CONTENT_FILTER),
        finish(attempts=2),
        finish(attempts=0),
    ],
)
async def test_only_whole_answers_of_the_first_attempt_are_kept(end: Finish) -> None:
    """What was cut, refused, or came from a target that is only asked when others fail."""
    stage = Stage()
    stage.end = end
    for _ in range(2):
        _, result = await stage.complete(request_of(CompleteRequest))
        assert result == "miss"
        _, result = await stage.chat(request_of(ChatRequest))
        assert result == "miss"
    assert len(stage.asked) == 4


async def test_very_long_answers_are_not_kept() -> None:
    """They pass by, and leave no room taken."""
    stage = Stage()
    stage.text = "x" * 1_100_000
    for _ in range(2):
        events, result = await stage.chat(request_of(ChatRequest))
        assert result == "miss"
        assert events[1].delta.text == stage.text


async def test_a_model_with_other_targets_answers_for_itself() -> None:
    """What another target has answered is not found any more."""
    stage = Stage()
    await stage.complete(request_of(CompleteRequest))
    stage.configuration.models["m"] = ChatModel(capability="chat", targets=("p/another",))
    _, result = await stage.complete(request_of(CompleteRequest))
    assert result == "miss"


async def test_calls_that_ask_the_same_at_once_are_answered_with_one_answer() -> None:
    """All but the first are told that it was computed for another."""
    stage = Stage()
    stage.held.clear()
    calls = [asyncio.create_task(stage.complete(request_of(CompleteRequest))) for _ in range(5)]
    await settled()
    stage.held.set()
    answers = await asyncio.gather(*calls)
    assert len(stage.asked) == 1
    assert [result for _, result in answers] == ["miss", *["hit"] * 4]
    assert not len(stage.cache.flights)


async def test_calls_that_wait_are_answered_when_the_first_one_leaves() -> None:
    """One of them asks in its place."""
    stage = Stage()
    stage.held.clear()
    calls = [asyncio.create_task(stage.complete(request_of(CompleteRequest))) for _ in range(5)]
    await settled()
    calls[0].cancel()
    await settled()
    stage.held.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert not any(isinstance(answer, BaseException) for answer in answers[1:])
    assert len(stage.asked) == 2
    assert not len(stage.cache.flights)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x02\x00\x00\x00\xff\xff", b"\x00\x00\x00\x00"])
def test_what_is_no_answer_is_not_replayed(value: bytes) -> None:
    """Whatever stands in a Redis that others write to, too."""
    assert not events_of(value)
    assert not replayed(value)


async def test_who_computes_for_itself_does_not_end_the_flight_of_another() -> None:
    """Those who wait for a leader get its answer, and its end is the end of nobody else's flight."""
    stage = Stage()
    held, request = stage.held, request_of(CompleteRequest)
    held.clear()
    leading = asyncio.create_task(stage.complete(request))
    await settled()
    waiting = asyncio.create_task(stage.complete(request))
    await settled()
    stage.held = asyncio.Event()
    stage.held.set()
    await stage.complete(request, "refresh")
    await settled()
    assert (len(stage.cache.flights), waiting.done()) == (1, False)
    held.set()
    assert (await leading)[0].message == (await waiting)[0].message
    assert (len(stage.asked), len(stage.cache.flights)) == (2, 0)


async def test_answers_of_a_provider_that_has_moved_are_not_those_of_the_new_one() -> None:
    """Another machine may have another model under the same name; how many requests it takes is no matter."""
    stage = Stage()
    told = []
    for more in ({}, {"max_concurrent_requests": 3}, {"url": "http://127.0.0.2:11434"}):
        stage.providers["p"] = OllamaProvider.model_validate({"type": "ollama", **more})
        told.append((await stage.complete(request_of(CompleteRequest)))[1])
    assert told == ["miss", "hit", "miss"]
