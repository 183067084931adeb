"""Anthropic's dialect over real connections, and its stand-in as the official client reads it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anthropic
import pytest

from services.chat.providers.anthropic.provider import AnthropicProvider
from services.chat.providers.facts import Facts
from services.chat.providers.failure import FailureKind
from services.config import AnthropicProvider as Section
from services.config import SecretUnavailable
from tests.support.anthropic_server import AnthropicServer, Reply, anthropic_server
from tests.support.asked_provider import answer, portions
from tests.support.transcripts import FOLDER, Transcript, meaning, transcripts

KEY = "sk-ant-test-key"
COMPLETE = [one for one in transcripts("anthropic") if one.expected.stopped]
OFFICIAL = [one for one in COMPLETE if one.whole is not None]


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Section:
    """A provider's section whose key is in the environment."""
    monkeypatch.setenv("TEST_ANTHROPIC_KEY", KEY)
    return Section(type="anthropic", api_key="env:TEST_ANTHROPIC_KEY")


@asynccontextmanager
async def facing(section: Section, reply: Reply) -> AsyncIterator[tuple[AnthropicProvider, AnthropicServer]]:
    """Run a provider in front of a stand-in."""
    async with anthropic_server(reply) as server:
        provider = AnthropicProvider("golden", section.model_copy(update={"url": server.url + "/"}))
        try:
            yield provider, server
        finally:
            await provider.aclose()


@pytest.mark.parametrize("transcript", OFFICIAL, ids=map(str, OFFICIAL))
async def test_the_official_client_reads_the_transcripts_as_they_are_meant(transcript: Transcript) -> None:
    """What it puts together from the stream is the message in one piece; so the transcripts are true."""
    assert transcript.whole is not None
    async with (
        anthropic_server(Reply(portions(transcript.stream))) as server,
        anthropic.AsyncAnthropic(api_key=KEY, base_url=server.url, max_retries=0) as client,
        client.messages.stream(
            model="golden-model", max_tokens=64, messages=[{"role": "user", "content": "Hello"}]
        ) as stream,
    ):
        message = json.loads((await stream.get_final_message()).to_json(exclude_unset=True))
    whole = json.loads(transcript.whole)
    assert message["content"] == whole["content"]
    assert message["stop_reason"] == whole["stop_reason"]
    assert message["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


@pytest.mark.parametrize("transcript", COMPLETE, ids=map(str, COMPLETE))
async def test_an_answer_arrives_as_it_is_meant(transcript: Transcript, section: Section) -> None:
    """Over a real connection, in pieces that fit nothing."""
    async with facing(section, Reply(portions(transcript.stream))) as (provider, _):
        assert meaning(*await answer(provider)) == transcript.expected


async def test_an_answer_in_one_piece_is_read_as_one(section: Section) -> None:
    """A server that does not stream is understood all the same."""
    transcript = Transcript(FOLDER / "anthropic" / "one_tool_call")
    assert transcript.whole is not None
    reply = Reply(portions(transcript.whole), content_type="application/json")
    async with facing(section, reply) as (provider, _):
        assert meaning(*await answer(provider)) == transcript.expected


async def test_the_key_is_in_a_header_and_nowhere_else(section: Section) -> None:
    """The request goes to the one path there is, with the version of the API."""
    stream = Transcript(FOLDER / "anthropic" / "text").stream
    async with facing(section, Reply([stream])) as (provider, server):
        await answer(provider)
        [request] = server.requests
    assert request.line == "POST /v1/messages HTTP/1.1"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    assert KEY not in json.dumps(request.body)
    assert request.body["stream"] is True


async def test_an_overload_is_a_failure_that_may_pass(section: Section) -> None:
    """Its status is Anthropic's own; the time to wait comes in a header."""
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}'
    reply = Reply([body], 529, "application/json", {"Retry-After": "1.5"})
    async with facing(section, reply) as (provider, _):
        pieces, failure = await answer(provider)
    assert pieces == []
    assert failure is not None
    assert (failure.kind, failure.may_retry) == (FailureKind.UNAVAILABLE, True)
    assert (failure.told.status, failure.told.code) == (529, "overloaded_error")
    assert failure.told.retry_after_seconds == 1.5


async def test_an_answer_that_is_all_there_is_not_waited_for(section: Section) -> None:
    """A server that keeps the response open after `message_stop` does not make it fail."""
    transcript = Transcript(FOLDER / "anthropic" / "text")
    async with facing(section, Reply([transcript.stream], stays_open=True)) as (provider, _):
        assert meaning(*await answer(provider)) == transcript.expected


async def test_what_is_known_of_the_models_is_not_asked_for(section: Section) -> None:
    """No request is made for it; the price list knows them by the maker's name."""
    async with facing(section, Reply([])) as (provider, server):
        facts = await provider.facts("claude-sonnet-5")
        assert (facts.tools, facts.images, facts.json_schema, facts.json) == (True, True, True, False)
        assert isinstance(facts, Facts)
        assert provider.price_provider("claude-sonnet-5") == "anthropic"
        assert provider.is_paid("claude-sonnet-5")
        assert server.requests == []


def test_a_provider_without_its_key_cannot_be_opened(section: Section) -> None:
    """That is found out at once, not with the first call."""
    with pytest.raises(SecretUnavailable):
        AnthropicProvider("golden", section.model_copy(update={"api_key": "env:TEST_NO_SUCH_KEY"}))
