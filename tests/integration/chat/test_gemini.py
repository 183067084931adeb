"""Gemini's dialect over real connections."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.chat.providers.dialect import Ask
from services.chat.providers.failure import FailureKind
from services.chat.providers.gemini.provider import GeminiProvider
from services.config import GeminiProvider as Section
from services.config import SecretUnavailable
from tests.support.anthropic_server import AnthropicServer, Reply, anthropic_server
from tests.support.asked_provider import answer, portions
from tests.support.transcripts import ASK, FOLDER, Transcript, meaning, transcripts

KEY = "AIzaSy-test-key"
TRANSCRIPTS = transcripts("gemini")
WHOLE = [one for one in TRANSCRIPTS if one.whole is not None]


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Section:
    """A provider's section whose key is in the environment."""
    monkeypatch.setenv("TEST_GEMINI_KEY", KEY)
    return Section(type="gemini", api_key="env:TEST_GEMINI_KEY")


@asynccontextmanager
async def facing(section: Section, reply: Reply) -> AsyncIterator[tuple[GeminiProvider, AnthropicServer]]:
    """Run a provider in front of a stand-in, which sends what it is given to whoever asks."""
    async with anthropic_server(reply) as server:
        provider = GeminiProvider("golden", section.model_copy(update={"url": server.url + "/"}))
        try:
            yield provider, server
        finally:
            await provider.aclose()


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=map(str, TRANSCRIPTS))
async def test_an_answer_arrives_as_it_is_meant(transcript: Transcript, section: Section) -> None:
    """Over a real connection, in pieces that fit nothing; failures arrive as well."""
    async with facing(section, Reply(portions(transcript.stream))) as (provider, _):
        assert meaning(*await answer(provider)) == transcript.expected


@pytest.mark.parametrize("transcript", WHOLE, ids=map(str, WHOLE))
async def test_an_answer_in_one_piece_is_read_as_one(transcript: Transcript, section: Section) -> None:
    """A server that does not stream is understood all the same."""
    reply = Reply(portions(transcript.whole or b""), content_type="application/json; charset=UTF-8")
    async with facing(section, reply) as (provider, _):
        assert meaning(*await answer(provider)) == transcript.expected


async def test_the_key_is_in_a_header_and_nowhere_else(section: Section) -> None:
    """The address, which ends up in logs, names the model and asks for events."""
    stream = Transcript(FOLDER / "gemini" / "text").stream
    async with facing(section, Reply([stream])) as (provider, server):
        await answer(provider)
        [request] = server.requests
    path = "/v1beta/models/golden-model:streamGenerateContent?alt=sse"
    assert request.line == f"POST {path} HTTP/1.1"
    assert request.headers["x-goog-api-key"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    assert request.body == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


async def test_a_name_cannot_lead_to_another_path(section: Section) -> None:
    """It arrives quoted, as one segment."""
    async with facing(section, Reply([])) as (provider, server):
        await answer(provider, Ask(ASK.conversation, "golden", "models/../../v1/x?key=y"))
        [request] = server.requests
    path = "/v1beta/models/..%2F..%2Fv1%2Fx%3Fkey%3Dy:streamGenerateContent?alt=sse"
    assert request.line == f"POST {path} HTTP/1.1"


async def test_a_limit_says_when_to_come_back(section: Section) -> None:
    """No header does: the time is in the body."""
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.25s"}
    error = {"code": 429, "message": "later", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    reply = Reply([json.dumps([{"error": error}]).encode()], 429, "application/json")
    async with facing(section, reply) as (provider, _):
        pieces, failure = await answer(provider)
    assert pieces == []
    assert failure is not None
    assert (failure.kind, failure.may_retry) == (FailureKind.RATE_LIMITED, True)
    assert (failure.told.status, failure.told.retry_after_seconds) == (429, 1.25)


async def test_what_is_known_of_the_models_is_not_asked_for(section: Section) -> None:
    """No request is made for it; the price list knows them by the maker's name."""
    async with facing(section, Reply([])) as (provider, server):
        facts = await provider.facts("gemini-2.5-pro")
        assert (facts.tools, facts.images, facts.json_schema, facts.json) == (True, True, True, True)
        assert provider.price_provider("gemini-2.5-pro") == "google"
        assert provider.is_paid("gemini-2.5-pro")
        assert server.requests == []


def test_a_provider_without_its_key_cannot_be_opened(section: Section) -> None:
    """That is found out at once, not with the first call."""
    with pytest.raises(SecretUnavailable):
        GeminiProvider("golden", section.model_copy(update={"api_key": "env:TEST_NO_SUCH_KEY"}))
