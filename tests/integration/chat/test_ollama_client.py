"""The official client takes the stand-in of these tests for an Ollama."""

from __future__ import annotations

from collections.abc import AsyncIterator

import ollama
import pytest

from tests.support.ollama_models import ServedModel, calls, refuses, says
from tests.support.ollama_server import OllamaServer

ASKED = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    """Return a server with a model that talks and one that calls tools."""
    talks = ServedModel(
        "talks:latest",
        says("Grüße, ", "世界", thinking="Hm. "),
        capabilities=("completion", "thinking"),
        loaded=True,
    )
    acts = ServedModel("acts:1b", calls(("roll", {"sides": 6}), ("roll", {"sides": 20})))
    async with OllamaServer(talks, acts, ServedModel("busy:1b", refuses(503, "server busy"))) as server:
        yield server


@pytest.fixture
async def client(server: OllamaServer) -> AsyncIterator[ollama.AsyncClient]:
    """Return the official client of that server."""
    async with ollama.AsyncClient(host=server.url) as client:
        yield client


async def test_it_streams(client: ollama.AsyncClient) -> None:
    """Texts arrive one by one, and the last line tells the tokens."""
    stream = await client.chat("talks", messages=ASKED, stream=True, think=True)
    lines = [line async for line in stream]
    assert [line.message.content for line in lines] == ["", "Grüße, ", "世界", ""]
    assert lines[0].message.thinking == "Hm. "
    assert (lines[-1].done, lines[-1].done_reason, lines[-1].eval_count) == (True, "stop", 5)


async def test_it_answers_in_one_piece(client: ollama.AsyncClient) -> None:
    """The same, put together."""
    answer = await client.chat("talks", messages=ASKED)
    assert (answer.message.content, answer.message.thinking) == ("Grüße, 世界", "Hm. ")


async def test_it_calls_tools(client: ollama.AsyncClient) -> None:
    """Arguments are objects."""
    answer = await client.chat("acts:1b", messages=ASKED)
    assert [call.function.arguments for call in answer.message.tool_calls or ()] == [
        {"sides": 6},
        {"sides": 20},
    ]


async def test_it_shows_and_lists(client: ollama.AsyncClient) -> None:
    """Capabilities, context, what there is and what is in memory."""
    shown = await client.show("talks")
    assert shown.capabilities == ["completion", "thinking"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["test.context_length"] == 8192
    assert [model.model for model in (await client.list()).models] == ["talks:latest", "acts:1b", "busy:1b"]
    assert [model.model for model in (await client.ps()).models] == ["talks:latest"]


async def test_it_embeds(client: ollama.AsyncClient) -> None:
    """One embedding for each input, alike for alike inputs."""
    embeddings = (await client.embed("talks", input=["a", "b", "a"])).embeddings
    assert embeddings[0] == embeddings[2] != embeddings[1]


@pytest.mark.parametrize(
    ("model", "think", "status"), [("none", None, 404), ("acts:1b", True, 400), ("busy:1b", None, 503)]
)
async def test_it_refuses(client: ollama.AsyncClient, model: str, think: bool | None, status: int) -> None:
    """As an Ollama does."""
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat(model, messages=ASKED, think=think)
    assert caught.value.status_code == status
