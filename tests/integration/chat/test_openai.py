"""The provider for Chat Completions against a stand-in, over real connections."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import openai
import pytest

from services.chat.answer import Usage
from services.chat.conversation import Conversation, Message, ResponseFormat, Text
from services.chat.providers.exchange import Timers
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.openai.provider import OpenAiProvider
from services.config import CloudflareProvider, CompatibleProvider, HostedProvider
from tests.support.openai_server import OpenAiServer, Reply, openai_server
from tests.support.transcripts import ASK, FOLDER, Expected, meaning

TIMERS = Timers(first_token=10, idle=10)
KEY = "stand-in-key"
SECONDS = 10.0


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_KEY", KEY)


@asynccontextmanager
async def provider_at(server: OpenAiServer, kind: str = "openai-compatible") -> AsyncIterator[OpenAiProvider]:
    """Open the provider of a type whose address is that of the stand-in."""
    section: HostedProvider | CompatibleProvider
    if kind == "openai-compatible":
        section = CompatibleProvider(
            type="openai-compatible", url=server.url, api_key="env:STAND_IN_KEY", tier="local"
        )
    else:
        section = HostedProvider.model_validate(
            {"type": kind, "url": server.url, "api_key": "env:STAND_IN_KEY"}
        )
    provider = OpenAiProvider("golden", section)
    try:
        yield provider
    finally:
        await provider.aclose()


async def answer(provider: OpenAiProvider, conversation: Conversation = ASK.conversation) -> Expected:
    """Return what an answer of the provider means."""
    pieces: list[Any] = []
    try:
        ask = replace(ASK, conversation=conversation)
        async with provider.exchange(ask, TIMERS, lambda number: f"call_{number}") as exchange:
            async for some in exchange:
                pieces += some
    except Failure as failure:
        return meaning(pieces, failure)
    return meaning(pieces, None)


async def failure_of(server: OpenAiServer, kind: str, reply: Reply) -> Failure:
    """Return how an exchange fails that gets this reply."""
    server.replies.append(reply)
    async with provider_at(server, kind) as provider:
        try:
            async with provider.exchange(ASK, TIMERS, str) as exchange:
                async for _ in exchange:
                    pass
        except Failure as failure:
            return failure
    raise AssertionError


async def test_a_streamed_answer_comes_through() -> None:
    """Text and usage arrive, and the request bears the key and asks for a stream with usage."""
    async with openai_server() as server, provider_at(server) as provider:
        told = await answer(provider)
        assert told == Expected([{"text": "Grüße 👋"}], "stop", {"input_tokens": 9, "output_tokens": 2})
        request = server.requests[0]
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.body["stream_options"] == {"include_usage": True}


async def test_a_service_that_does_not_stream_formats_is_asked_for_the_whole() -> None:
    """Groq answers JSON in one piece, which means the same."""
    conversation = Conversation(
        (Message("user", (Text("JSON please"),)),), response_format=ResponseFormat("json")
    )
    async with (
        openai_server(OpenAiServer(['{"a":', "1}"])) as server,
        provider_at(server, "groq") as provider,
    ):
        told = await answer(provider, conversation)
        assert told.parts == [{"text": '{"a":1}'}]
        assert server.requests[0].body["stream"] is False


async def test_one_connection_serves_answers_one_after_another() -> None:
    """A stream that was read to its end leaves a connection that can be used again."""
    peers = set()

    class Counting(OpenAiServer):
        async def serve(self, reader: Any, writer: Any) -> None:
            peers.add(writer.get_extra_info("peername"))
            await super().serve(reader, writer)

    async with openai_server(Counting()) as server, provider_at(server) as provider:
        for _ in range(3):
            assert (await answer(provider)).stopped == "stop"
    assert len(peers) == 1


@pytest.mark.parametrize("name", ["two_tool_calls", "error_after_content", "refusal"])
async def test_a_transcript_means_the_same_over_a_connection(name: str) -> None:
    """What the dialect reads from a file is what the exchange reads from a socket."""
    folder = FOLDER / "openai" / name
    reply = Reply((folder / "stream.txt").read_bytes(), content_type="text/event-stream")
    async with openai_server() as server, provider_at(server, "openai") as provider:
        server.replies.append(reply)
        assert await answer(provider) == Expected(**json.loads((folder / "expected.json").read_text("utf-8")))


async def test_an_error_in_a_good_response_is_an_error() -> None:
    """OpenRouter answers 200 with an error in it; what it says is not repeated."""
    body = {"error": {"code": 402, "message": f"no credit on {KEY}"}}
    async with openai_server() as server:
        failure = await failure_of(server, "openrouter", Reply(json.dumps(body).encode()))
    assert failure.kind is FailureKind.QUOTA
    assert KEY not in str(failure)


async def test_a_limit_says_when_to_come_back() -> None:
    """Without `retry-after`, the reset of the limit that was hit is the time to wait."""
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7.5s"}
    body = {"error": {"message": "slow", "type": "tokens", "code": "rate_limit_exceeded"}}
    async with openai_server() as server:
        failure = await failure_of(server, "groq", Reply(json.dumps(body).encode(), 429, headers=headers))
    assert failure.kind is FailureKind.RATE_LIMITED
    assert failure.told.retry_after_seconds == 7.5


async def test_embeddings_come_in_the_order_of_their_inputs() -> None:
    """The stand-in sends them backwards; the index puts them right."""
    async with openai_server() as server, provider_at(server) as provider:
        embeddings = await provider.embed("m", ["a", "bcd"], 3, SECONDS)
        assert [list(vector) for vector in embeddings.vectors] == [[1.0, 0.5, 0.5], [3.0, 0.5, 0.5]]
        assert embeddings.usage == Usage(input_tokens=2)
        assert server.requests[0].body == {
            "model": "m",
            "input": ["a", "bcd"],
            "encoding_format": "float",
            "dimensions": 3,
        }


async def test_hugging_face_extracts_features_beside_its_router() -> None:
    """Chat is under `/v1`, features are not."""
    async with openai_server() as server, provider_at(server, "huggingface") as provider:
        embeddings = await provider.embed("org/name", ["a", "bc"], None, SECONDS)
        assert [vector[0] for vector in embeddings.vectors] == [1.0, 2.0]
        assert embeddings.usage == Usage()
        await answer(provider)
    assert [request.path for request in server.requests] == [
        "/hf-inference/models/org/name/pipeline/feature-extraction",
        "/v1/chat/completions",
    ]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"[[[1.0, 2.0], [3.0, 4.0]]]", FailureKind.NOT_SUPPORTED),
        (b"[[1.0], [2.0]]", FailureKind.MALFORMED),
        (b'{"a": 1}', FailureKind.MALFORMED),
    ],
)
async def test_features_that_are_no_embeddings_are_refused(reply: bytes, kind: FailureKind) -> None:
    """A vector for each token, too many vectors, and something else are no embedding of a text."""
    async with openai_server() as server, provider_at(server, "huggingface") as provider:
        server.replies.append(Reply(reply))
        with pytest.raises(Failure) as caught:
            await provider.embed("org/name", ["a"], None, SECONDS)
    assert caught.value.kind is kind


async def test_a_service_without_embeddings_says_so() -> None:
    """Nothing is sent to Groq for embeddings."""
    async with openai_server() as server, provider_at(server, "groq") as provider:
        with pytest.raises(Failure) as caught:
            await provider.embed("m", ["a"], None, SECONDS)
    assert (caught.value.kind, server.requests) == (FailureKind.NOT_SUPPORTED, [])


@pytest.mark.parametrize("status", [200, 404])
async def test_a_server_with_or_without_a_list_of_models_passes_the_check(status: int) -> None:
    """Whether there is a list is no sign of health."""
    async with openai_server() as server, provider_at(server) as provider:
        server.replies.append(Reply(b"{}", status))
        await provider.check("m")
    assert [request.path for request in server.requests] == ["/v1/models"]


async def test_a_refused_key_fails_the_check() -> None:
    """Before the first call it is known that the key is no good."""
    async with openai_server() as server, provider_at(server) as provider:
        server.replies.append(Reply(b'{"error": {"code": "invalid_api_key"}}', 401))
        with pytest.raises(Failure) as caught:
            await provider.check("m")
    assert caught.value.kind is FailureKind.AUTHENTICATION


async def test_a_compatible_server_without_a_key_is_sent_none() -> None:
    """No header stands for a key that is not configured."""
    async with openai_server() as server:
        provider = OpenAiProvider(
            "local", CompatibleProvider(type="openai-compatible", url=server.url, tier="local")
        )
        await answer(provider)
        await provider.aclose()
    assert "authorization" not in server.requests[0].headers


async def test_cloudflare_is_asked_under_its_account() -> None:
    """The account is part of the path."""
    async with openai_server() as server:
        url = server.url.removesuffix("/v1")
        section = CloudflareProvider(type="cloudflare", url=url, account_id="abc", api_key="env:STAND_IN_KEY")
        provider = OpenAiProvider("cloudflare", section)
        await answer(provider)
        await provider.aclose()
    assert server.requests[0].path == "/client/v4/accounts/abc/ai/v1/chat/completions"


async def test_the_official_client_understands_the_stand_in() -> None:
    """What the provider is tested against is what OpenAI's own client takes: stream, whole, embeddings."""
    async with openai_server() as server, openai.AsyncOpenAI(base_url=server.url, api_key=KEY) as client:
        messages: Sequence[Any] = [{"role": "user", "content": "Hello"}]
        stream = await client.chat.completions.create(
            model="m", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "Grüße 👋"
        assert chunks[-1].usage is not None
        whole = await client.chat.completions.create(model="m", messages=messages)
        assert whole.choices[0].message.content == text
        embeddings = await client.embeddings.create(model="m", input=["a", "bcd"], encoding_format="float")
        assert [one.index for one in embeddings.data] == [1, 0]
        assert [model.id async for model in client.models.list()] == ["stand-in"]
