"""OpenAI's own client against a router and a chat service as real processes, in front of an Ollama."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import openai
import pytest
from pydantic import BaseModel

from tests.support.chat_cluster import SEVERAL_MODELS, ChatStage, chat_staged
from tests.support.http_side import QUESTION, HttpSide, asking
from tests.support.ollama_models import Reply, ServedModel, calls, says

PAID: Final = '[providers.claude]\ntype = "anthropic"\napi_key = "env:NOT_SET"\n'
WEATHER: Final[Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather.", "parameters": {"type": "object"}},
}


class Degrees(BaseModel):
    """What is asked for as JSON."""

    degrees: int


def answer(body: Mapping[str, Any]) -> Reply:
    """Say what the test expects, by what is asked for."""
    if body.get("format"):
        return says('{"degrees": 21}')
    if body["messages"][-1]["role"] == "tool":
        return says("It is ", body["messages"][-1]["content"])
    if body.get("tools"):
        return calls(("weather", {"place": "here"}))
    if body.get("think"):
        return says("21 ", "degrees.", thinking="It feels warm.")
    return says("It ", "is ", "warm.")


@dataclass(frozen=True)
class Cluster:
    """The processes and how to ask them."""

    stage: ChatStage
    http: HttpSide


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Run the processes."""
    talker = ServedModel("talker:1b", answer, ("completion", "tools", "thinking", "vision"))
    embedder = ServedModel("embedder", capabilities=("embedding",))
    folder = tmp_path_factory.mktemp("http")
    async with chat_staged(folder, SEVERAL_MODELS, talker, embedder, more=PAID, http=True) as stage:
        address = stage.cluster.file.configuration.services.router.http_listen
        assert address is not None
        async with asking(address) as http:
            yield Cluster(stage, http)


async def test_a_conversation_is_answered(cluster: Cluster) -> None:
    """With the text, the reason why it ended, the tokens, and in headers who answered and for how much."""
    create = cluster.http.openai.chat.completions.with_raw_response.create
    raw = await create(model="assistant", messages=QUESTION)
    told = raw.parse()
    assert told.choices[0].message.content == "It is warm."
    assert (told.choices[0].finish_reason, told.model) == ("stop", "assistant")
    assert told.usage is not None
    assert (told.usage.prompt_tokens, told.usage.completion_tokens, told.usage.total_tokens) == (9, 5, 14)
    named = {name: raw.headers[f"x-inglenook-{name}"] for name in ("provider", "model", "cost")}
    assert named == {"provider": "ollama", "model": "talker:1b", "cost": "0"}
    assert raw.headers["x-inglenook-served-by"].startswith("chat@")
    assert raw.headers["x-request-id"].startswith("req_")


async def test_a_stream_begins_with_the_role_and_ends_with_the_usage(cluster: Cluster) -> None:
    """In the shape that clients put together again: role, text, reason, and tokens without a choice."""
    stream = await cluster.http.openai.chat.completions.create(
        model="assistant", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    first, *middle, last, used = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert "".join(one.choices[0].delta.content or "" for one in middle) == "It is warm."
    assert all(one.choices[0].delta.role is None for one in middle)
    assert (last.choices[0].finish_reason, last.usage) == ("stop", None)
    assert used.choices == []
    assert used.usage is not None
    assert used.usage.total_tokens == 14
    assert len({one.id for one in chunks}) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_tool_is_called_and_its_result_answered(cluster: Cluster, streams: bool) -> None:
    """The client's own helpers put a streamed call together; the turn goes back as it came."""
    completions = cluster.http.openai.chat.completions
    asked: Any = {"model": "assistant", "tools": [WEATHER]}
    if streams:
        async with completions.stream(messages=QUESTION, **asked) as stream:
            told: Any = await stream.get_final_completion()
    else:
        told = await completions.create(messages=QUESTION, **asked)
    assert told.choices[0].finish_reason == "tool_calls"
    (call,) = told.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"place": "here"})
    turn = told.choices[0].message.model_dump(exclude_none=True)
    turn["tool_calls"][0]["function"].pop("parsed_arguments", None)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees."}
    again = await completions.create(messages=[*QUESTION, turn, result], **asked)
    assert again.choices[0].message.content == "It is 21 degrees."


async def test_a_schema_is_held_to(cluster: Cluster) -> None:
    """`parse` of the client sends a model of pydantic as `json_schema` and reads the answer with it."""
    told = await cluster.http.openai.chat.completions.parse(
        model="assistant", messages=QUESTION, response_format=Degrees
    )
    assert told.choices[0].message.parsed == Degrees(degrees=21)


async def test_thoughts_come_apart_from_the_text(cluster: Cluster) -> None:
    """In `reasoning_content`, where other servers put them."""
    told = await cluster.http.openai.chat.completions.create(
        model="assistant", messages=QUESTION, reasoning_effort="low"
    )
    message = told.choices[0].message
    assert message.content == "21 degrees."
    assert (message.model_extra or {})["reasoning_content"] == "It feels warm."


async def test_a_picture_arrives(cluster: Cluster) -> None:
    """A data URL becomes the bytes that it stands for."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content: Any = [{"type": "text", "text": "What is this?"}, picture]
    await cluster.http.openai.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": content}]
    )
    assert cluster.stage.ollama.seen("/api/chat")[-1].body["messages"][0]["images"] == ["iVBORw0KGgo="]


@pytest.mark.parametrize("encoding", [openai.NOT_GIVEN, "float", "base64"])
async def test_embeddings_are_the_same_in_either_encoding(cluster: Cluster, encoding: Any) -> None:
    """The client asks for base64 by itself and decodes it."""
    told = await cluster.http.openai.embeddings.create(
        model="vectors", input=[f"the cat {encoding}", "a dog"], encoding_format=encoding
    )
    plain = await cluster.http.openai.embeddings.create(model="vectors", input=f"the cat {encoding}")
    assert [one.index for one in told.data] == [0, 1]
    found: Any = told.data[0].embedding
    if encoding != "base64":  # asked for by name, it is handed on as it is
        assert found == plain.data[0].embedding
        assert len(found) == 4
        assert sum(value**2 for value in found) == pytest.approx(1)
    assert told.usage.prompt_tokens > 0


async def test_models_are_listed_and_described(cluster: Cluster) -> None:
    """With what they can do; a name may have a slash."""
    listed = [model async for model in cluster.http.openai.models.list()]
    assert [model.id for model in listed] == ["assistant", "absent", "bought", "vectors"]
    assert (listed[3].model_extra or {})["inglenook"]["capability"] == "embed"
    assert (await cluster.http.openai.models.retrieve("assistant")).id == "assistant"
    assert (await cluster.http.openai.models.retrieve("ollama/talker:1b")).id == "ollama/talker:1b"
    with pytest.raises(openai.NotFoundError):
        await cluster.http.openai.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("asked", "kind", "told"),
    [
        ({"model": "nobody"}, openai.NotFoundError, ("model_not_found", "model")),
        ({"model": "vectors"}, openai.BadRequestError, ("wrong_capability", "model")),
        ({"model": "bought"}, openai.PermissionDeniedError, ("paid_disabled", None)),
        ({"model": "absent"}, openai.InternalServerError, ("upstream_model_missing", None)),
        ({"temperature": 3}, openai.BadRequestError, ("invalid_request", "temperature")),
        ({"max_completion_tokens": 0}, openai.BadRequestError, ("invalid_request", "max_completion_tokens")),
        ({"n": 2}, openai.BadRequestError, ("unsupported_parameter", "n")),
        ({"logprobs": True}, openai.BadRequestError, ("unsupported_parameter", "logprobs")),
        ({"messages": []}, openai.BadRequestError, ("invalid_request", "messages")),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]},
            openai.BadRequestError,
            ("invalid_request", "messages[0].content[0].text"),
        ),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_an_error_is_one_of_the_clients_own(
    cluster: Cluster,
    asked: Any,
    kind: type[openai.APIStatusError],
    told: tuple[str, str | None],
    streams: bool,
) -> None:
    """By its HTTP status, streamed or not, with the field where one is wrong."""
    fields: Any = {"model": "assistant", "messages": QUESTION, "stream": streams, **asked}
    with pytest.raises(kind) as raised:
        await cluster.http.openai.chat.completions.create(**fields)
    assert (raised.value.code, raised.value.param) == told


async def test_tokens_are_no_input_for_the_models_of_providers(cluster: Cluster) -> None:
    """Nobody here knows their tokenizers."""
    with pytest.raises(openai.BadRequestError, match="tokenizer") as raised:
        await cluster.http.openai.embeddings.create(model="vectors", input=[1, 2, 3])
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", "input")


async def test_the_status_tells_of_capabilities_backends_and_models(cluster: Cluster) -> None:
    """What the router tells operators over gRPC, as JSON."""
    told = (await cluster.http.plain.get("/status")).json()
    chat = told["capabilities"][0]
    assert (chat["capability"], chat["available"], chat["calls_in_flight"]) == ("CAPABILITY_CHAT", True, 0)
    assert {one["state"] for one in told["backends"]} == {"BACKEND_STATE_HEALTHY"}
    assert [one["name"] for one in told["models"]] == ["assistant", "absent", "bought", "vectors"]
