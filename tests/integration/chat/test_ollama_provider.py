"""The Ollama provider against a server that answers as an Ollama does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from services.chat.answer import Piece, TextPiece
from services.chat.conversation import Conversation, Message, Text, Tool, ToolCall, ToolResult
from services.chat.providers.dialect import Ask
from services.chat.providers.exchange import Timers
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.provider import OllamaProvider
from services.config import OllamaProvider as Section
from tests.support.ollama_models import Reply, ServedModel, calls, done, refuses, says
from tests.support.ollama_server import OllamaServer
from tests.support.polling import LIMIT_SECONDS
from tests.support.transcripts import Expected, meaning

MODEL = "gemma3n:e2b"
HELLO = Conversation((Message("user", (Text("Hello"),)),))
TIMERS = Timers(first_token=LIMIT_SECONDS, idle=LIMIT_SECONDS)


@asynccontextmanager
async def _provider(server: OllamaServer, **settings: Any) -> AsyncIterator[OllamaProvider]:
    section = Section.model_validate({"type": "ollama", "url": server.url, **settings})
    provider = OllamaProvider("ollama", section)
    try:
        yield provider
    finally:
        await provider.aclose()


@asynccontextmanager
async def _serving(
    *models: ServedModel, **settings: Any
) -> AsyncIterator[tuple[OllamaServer, OllamaProvider]]:
    async with OllamaServer(*models) as server, _provider(server, **settings) as provider:
        yield server, provider


def _new_id(number: int) -> str:
    return f"call_{number}"


async def _answer(provider: OllamaProvider, conversation: Conversation = HELLO) -> Expected:
    pieces: list[Piece] = []
    failure: Failure | None = None
    try:
        async with provider.exchange(Ask(conversation, "ollama", MODEL), TIMERS, _new_id) as exchange:
            async for arrived in exchange:
                pieces += arrived
    except Failure as caught:
        failure = caught
    return meaning(pieces, failure)


async def _failure(do: Callable[[], Any]) -> Failure:
    with pytest.raises(Failure) as caught:
        await do()
    return caught.value


async def test_an_answer_arrives_with_its_usage() -> None:
    """Text and reasoning, and how many tokens they were."""
    model = ServedModel(MODEL, says("Grüße, ", "世界", thinking="Hm."), ("completion", "thinking"))
    async with _serving(model, keep_alive="600") as (server, provider):
        assert await _answer(provider, replace(HELLO, effort="high")) == Expected(
            parts=[{"reasoning": "Hm."}, {"text": "Grüße, 世界"}],
            stopped="stop",
            usage={"input_tokens": 9, "output_tokens": 5},
        )
        [seen] = server.seen("/api/chat")
    assert (seen.body["think"], seen.body["keep_alive"], seen.body["stream"]) == (True, 600, True)
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("with_the_end", [False, True])
async def test_tools_make_a_round_trip(with_the_end: bool) -> None:
    """Both shapes of tool calls; the results go back under the names of the tools."""

    def act(body: Any) -> Reply:
        if body["messages"][-1]["role"] == "tool":
            return says(" and ".join(message["content"] for message in body["messages"][2:]))
        return calls(("roll", {"sides": 6}), ("roll", {"sides": 20}), with_the_end=with_the_end)

    tools = (Tool("roll", "Rolls a die.", {"type": "object", "properties": {"sides": {"type": "integer"}}}),)
    conversation = replace(HELLO, tools=tools)
    async with _serving(ServedModel(MODEL, act)) as (_, provider):
        first = await _answer(provider, conversation)
        assert first.stopped == "tool_calls"
        made = [ToolCall(**part["tool_call"]) for part in first.parts]
        assert [call.id for call in made] == ["call_0", "call_1"]
        results = tuple(ToolResult(call.id, call.name, call.arguments) for call in made)
        turns = (*conversation.messages, Message("assistant", tuple(made)), Message("tool", results))
        second = await _answer(provider, replace(conversation, messages=turns))
    assert second.parts == [{"text": '{"sides":6} and {"sides":20}'}]


async def test_a_missing_model_is_named_and_not_pulled() -> None:
    """By whatever asks for it."""
    async with _serving() as (server, provider):
        asking = (
            lambda: provider.facts(MODEL),
            lambda: provider.check(MODEL),
            lambda: provider.embed(MODEL, ["a"], None, LIMIT_SECONDS),
            lambda: provider.exchange(Ask(HELLO, "ollama", MODEL), TIMERS, _new_id).__aenter__(),
        )
        for ask in asking:
            failure = await _failure(ask)
            assert failure.kind is FailureKind.MODEL_MISSING
            assert str(failure).endswith(f"ollama pull {MODEL}")
        assert {request.path for request in server.requests} == {"/api/show", "/api/embed", "/api/chat"}


async def test_a_hosted_ollama_is_not_said_to_pull() -> None:
    """Nobody who reads the message can."""
    async with _serving(tier="standard") as (_, provider):
        assert "pull" not in str(await _failure(lambda: provider.check(MODEL)))


async def test_facts_are_asked_for_once() -> None:
    """However many calls need them."""
    async with _serving(ServedModel(MODEL, capabilities=("completion", "vision"))) as (server, provider):
        facts = await asyncio.gather(*(provider.facts(MODEL) for _ in range(20)))
        assert all((one.images, one.tools, one.context_length) == (True, False, 8192) for one in facts)
        assert len(server.seen("/api/show")) == 1
        await provider.check(MODEL)
        assert len(server.seen("/api/show")) == 2


async def test_questions_do_not_wait_behind_answers() -> None:
    """An Ollama that answers one call at a time can still be asked what it has."""
    reply = Reply([done()], hold_after=0)
    async with _serving(ServedModel(MODEL, reply), max_concurrent_requests=1) as (_, provider):
        answering = asyncio.create_task(_answer(provider))
        try:
            assert (await provider.facts(MODEL)).chat is True
        finally:
            reply.go_on.set()
        assert (await answering).stopped == "stop"


async def test_models_that_can_be_talked_with_are_listed() -> None:
    """With what is known of them, and whether they are in memory."""
    models = (
        ServedModel("gemma3n:e2b", loaded=True),
        ServedModel("big:cloud", remote_host="https://ollama.com:443"),
        ServedModel("nomic:latest", capabilities=("embedding",)),
    )
    async with _serving(*models) as (server, provider):
        listed = await provider.models()
        assert [(model.name, model.loaded, model.facts.remote) for model in listed] == [
            ("gemma3n:e2b", True, False),
            ("big:cloud", False, True),
        ]
        async with _provider(server, discover=False) as silent:
            assert await silent.models() == ()


async def test_what_runs_elsewhere_is_paid() -> None:
    """By its name, and if it goes by another name, as soon as the Ollama says so."""
    renamed = ServedModel("mine:latest", remote_host="https://ollama.com:443")
    async with _serving(renamed, ServedModel(MODEL)) as (server, provider):
        assert all(map(provider.is_paid, ("big:cloud", "big:120b-cloud", "BIG:120B-Cloud")))
        assert not provider.is_paid("mine")
        await provider.facts("mine")
        assert provider.is_paid("mine")
        assert provider.is_paid("mine:latest")
        await provider.facts(MODEL)
        assert not provider.is_paid(MODEL)
        async with _provider(server, tier="standard") as hosted:
            assert hosted.is_paid(MODEL)


async def test_texts_are_embedded() -> None:
    """In the order of the inputs, shortened if that is asked for."""
    async with _serving(ServedModel(MODEL, dimensions=8)) as (_, provider):
        embeddings = await provider.embed(MODEL, ["a", "b", "a"], None, LIMIT_SECONDS)
        first, second, third = embeddings.vectors
        assert first == third != second
        assert len(first) == 8
        assert embeddings.usage.input_tokens == 3
        shorter = await provider.embed(MODEL, ["a"], 2, LIMIT_SECONDS)
    assert [len(vector) for vector in shorter.vectors] == [2]


async def test_a_key_goes_into_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nowhere else."""
    monkeypatch.setenv("A_KEY", "k-123")
    async with _serving(ServedModel(MODEL, says("Hi")), api_key="env:A_KEY") as (server, provider):
        await provider.facts(MODEL)
        await _answer(provider)
    assert [seen.headers["authorization"] for seen in server.requests] == ["Bearer k-123"] * 2
    assert all("k-123" not in seen.path + str(seen.body) for seen in server.requests)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(says("Half").lines[:1]), "broken off"),
        (Reply(says("Half").lines[:1], reset=True), "broken off"),
        (Reply([*says("Half").lines[:1], {"error": "llama runner process has terminated"}]), "unavailable"),
    ],
)
async def test_an_answer_that_ends_too_early_is_a_failure(reply: Reply, kind: str) -> None:
    """Also where the response ends as if nothing were wrong."""
    async with _serving(ServedModel(MODEL, reply)) as (_, provider):
        assert await _answer(provider) == Expected([{"text": "Half"}], failure={"kind": kind})


async def test_a_refusal_is_told_in_our_words() -> None:
    """The Ollama's own could be anything."""
    reply = refuses(400, "the prompt is longer than the context length currently available to the model")
    async with _serving(ServedModel(MODEL, reply)) as (_, provider):
        assert (await _answer(provider)).failure == {"kind": "context length"}


async def test_whoever_leaves_is_felt_by_the_ollama() -> None:
    """It stops at once, and its memory and time are free for others."""
    reply = Reply(says("One", "Two").lines, hold_after=1)
    async with _serving(ServedModel(MODEL, reply)) as (server, provider):
        async with provider.exchange(Ask(HELLO, "ollama", MODEL), TIMERS, _new_id) as exchange:
            async for pieces in exchange:
                assert pieces == [TextPiece(0, "One")]
                break
        async with asyncio.timeout(LIMIT_SECONDS):
            await server.requests[0].left.wait()


async def test_an_address_of_something_else_is_said_to_be_one() -> None:
    """A url that leads to the OpenAI-compatible API is a common mistake."""
    async with OllamaServer(ServedModel(MODEL)) as server:
        section = Section.model_validate({"type": "ollama", "url": f"{server.url}/v1/"})
        provider = OllamaProvider("ollama", section)
        failure = await _failure(lambda: provider.check(MODEL))
        await provider.aclose()
    assert failure.kind is FailureKind.UNAVAILABLE
    assert "check url" in str(failure)
