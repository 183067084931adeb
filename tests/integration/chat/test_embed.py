"""Embeddings from providers, over real gRPC."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import pytest
from inglenook.embed.v1 import EmbedResponse, Encoding, InputType

from tests.support.chat_stage import (
    CLOSED,
    chat_stage,
    embed_model,
    provider,
    silent_server,
)
from tests.support.embed_calls import LOCAL, embedded, floats, refused, two
from tests.support.ollama_models import ServedModel
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import EMBEDDINGS, OpenAiServer, Reply, openai_server
from tests.support.scraping import total

NOMIC: Final = ServedModel("nomic-embed-text:latest", capabilities=("embedding",), dimensions=4)


def unpacked(response: EmbedResponse) -> list[list[float]]:
    """Return the packed components of a response."""
    return [list(struct.unpack(f"<{len(one.packed) // 4}f", one.packed)) for one in response.embeddings]


def sent(*vectors: Sequence[float | int | str | None]) -> Reply:
    """Return a response that holds these vectors."""
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return Reply(json.dumps({"data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode())


def normalized(vector: Sequence[float]) -> list[float]:
    """Return a vector of length 1."""
    length = math.sqrt(sum(one * one for one in vector))
    return [one / length for one in vector]


async def test_embeddings_of_an_ollama_come_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    """Together or alone, a text has the same; usage is what the Ollama says, times add up."""
    inputs = ["one", "two", "three", "öne"]
    async with OllamaServer(NOMIC) as ollama:
        file = embed_model("vec", ["ollama/nomic-embed-text"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file) as stage:
            response = await embedded(stage, inputs)
            alone = [floats(await embedded(stage, [text], model="vec"))[0] for text in inputs]
        assert ollama.seen("/api/embed")[0].body["input"] == inputs
        assert ollama.seen("/api/embed")[0].body["truncate"] is False
    assert floats(response) == alone
    assert len({tuple(vector) for vector in alone}) == len(inputs)
    assert all(math.hypot(*vector) == pytest.approx(1.0) for vector in alone)
    assert (response.model, response.usage.input_tokens) == ("vec", sum(map(len, inputs)))
    assert not response.usage.HasField("output_tokens")
    timings = response.timings
    assert 0 < timings.inference_time.ToNanoseconds() <= timings.total_time.ToNanoseconds()


async def test_embeddings_of_a_compatible_server_are_put_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    """It sends them in another one, and says which is which."""
    async with openai_server() as server:
        async with chat_stage(tmp_path, two(server.url, CLOSED)) as stage:
            response = await embedded(stage, ["a", "bb", "ccc"], normalize=False)
        [request] = server.requests
    assert floats(response) == [[1.0, 0.5, 0.5, 0.5], [2.0, 0.5, 0.5, 0.5], [3.0, 0.5, 0.5, 0.5]]
    assert request.body["encoding_format"] == "float"
    assert response.usage.input_tokens == 3
    assert not response.usage.HasField("output_tokens")


async def test_packed_embeddings_are_the_same_numbers(tmp_path: Path) -> None:
    """Little-endian, four bytes each; the other field is empty. More of them than are encoded at a time."""
    inputs = [f"text {'x' * number}" for number in range(100)]
    async with openai_server() as server, chat_stage(tmp_path, two(server.url, CLOSED)) as stage:
        plain = await embedded(stage, inputs)
        packed = await embedded(stage, inputs, encoding=Encoding.ENCODING_FLOAT32)
    assert unpacked(packed) == floats(plain)
    assert all(not one.values for one in packed.embeddings)
    assert all(not one.packed for one in plain.embeddings)


@pytest.mark.parametrize("normalize", [True, False])
async def test_shortened_embeddings_are_the_first_components(normalize: bool, tmp_path: Path) -> None:
    """Normalized again unless the caller says not to. The provider is asked for all: not all can shorten."""
    async with openai_server() as server:
        async with chat_stage(tmp_path, two(server.url, CLOSED)) as stage:
            response = await embedded(stage, ["abc"], dimensions=2, normalize=normalize)
        assert "dimensions" not in server.requests[0].body
    wanted = normalized([3.0, 0.5]) if normalize else [3.0, 0.5]
    assert floats(response)[0] == pytest.approx(wanted)


async def test_what_a_text_is_for_selects_the_prompt_before_it(tmp_path: Path) -> None:
    """Without a word about it there is none."""
    prompts = 'query_prompt = "query: "\ndocument_prompt = "passage: "'
    async with openai_server() as server:
        async with chat_stage(tmp_path, two(server.url, CLOSED, model=prompts)) as stage:
            for input_type in InputType.values():
                await embedded(stage, ["x", "y"], input_type=input_type)
        inputs = [request.body["input"] for request in server.requests]
    assert inputs == [["x", "y"], ["query: x", "query: y"], ["passage: x", "passage: y"]]


BAD: Final[dict[str, Reply]] = {
    "too few": sent([1.0, 2.0]),
    "too many": sent([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]),
    "of different lengths": sent([1.0, 2.0], [1.0]),
    "empty": sent([], []),
    "no numbers": sent(["a", "b"], [1.0, 2.0]),
    "infinite": Reply(b'{"data":[{"index":0,"embedding":[1e999]},{"index":1,"embedding":[1]}]}'),
    "too large to travel": sent([1e39, 0.0], [1.0, 2.0]),
    "not in a list": Reply(b'{"data":{}}'),
    "a page": Reply(b"<html>", content_type="text/html"),
}


@pytest.mark.parametrize("reply", BAD.values(), ids=BAD)
async def test_embeddings_that_are_none_are_refused_and_the_next_target_is_asked(
    reply: Reply, tmp_path: Path
) -> None:
    """What cannot be understood may have been an accident; it never reaches the caller."""
    async with openai_server() as first, openai_server() as second:
        first.replies = [reply, reply]
        async with chat_stage(tmp_path, two(first.url, second.url)) as stage:
            response = await embedded(stage, ["a", "bb"], normalize=False)
        assert (len(first.requests), len(second.requests)) == (1, 1)
    assert floats(response) == [[1.0, 0.5, 0.5, 0.5], [2.0, 0.5, 0.5, 0.5]]


async def test_embeddings_of_another_length_than_configured_are_refused(tmp_path: Path) -> None:
    """Another model stands behind the name, perhaps; its vectors could not be compared with the others."""
    async with (
        openai_server() as first,
        openai_server() as second,
        chat_stage(tmp_path, two(first.url, second.url, model="dimensions = 5")) as stage,
    ):
        failure = await refused(stage, ["a"])
        first.replies = [sent([1.0, 2.0, 2.0, 4.0, 0.0])]
        response = await embedded(stage, ["a"])
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
    assert failure.metadata["attempts"].count("UPSTREAM_UNAVAILABLE") == 2
    assert floats(response)[0] == pytest.approx([0.2, 0.4, 0.4, 0.8, 0.0])


@pytest.mark.parametrize("kind", ["openai-compatible", "ollama"])
async def test_next_target_answers_when_the_first_one_is_down(kind: str, tmp_path: Path) -> None:
    """With the first target up again it would be asked first; this one call is not lost."""
    async with openai_server() as second:
        file = (
            embed_model("vec", ["first/m", "second/m"])
            + provider("first", kind, CLOSED, LOCAL)
            + provider("second", "openai-compatible", second.url, LOCAL)
            + "[chat]\nbackoff_seconds = 0.01\n"
        )
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            assert len((await embedded(stage, ["a"])).embeddings) == 1
            attempts = [
                await total(stage.process, "inglenook_chat_attempts_total", target=target, outcome=outcome)
                for target, outcome in (("first/m", "UPSTREAM_UNAVAILABLE"), ("second/m", "OK"))
            ]
            retries = await total(stage.process, "inglenook_chat_retries_total", target="first/m")
            fallbacks = await total(stage.process, "inglenook_chat_fallbacks_total", target="first/m")
            tokens = await total(stage.process, "inglenook_chat_tokens_total", target="second/m")
    assert (attempts, retries, fallbacks, tokens) == ([3, 1], 2, 1, 1)


async def test_next_target_answers_when_the_first_one_says_nothing(tmp_path: Path) -> None:
    """The time of the model is that of each target, so there is time left for the next."""
    async with (
        silent_server() as silence,
        openai_server() as second,
        chat_stage(tmp_path, two(silence.url, second.url, model="timeout_seconds = 0.2")) as stage,
    ):
        assert len((await embedded(stage, ["a"])).embeddings) == 1


async def test_many_calls_at_a_time_get_their_own_embeddings(tmp_path: Path) -> None:
    """Connections are shared, answers are not."""
    server = OpenAiServer()
    async with openai_server(server):
        async with chat_stage(tmp_path, two(server.url, CLOSED)) as stage:
            lengths = range(1, 33)
            responses = await asyncio.gather(
                *(embedded(stage, ["x" * length], normalize=False) for length in lengths)
            )
        assert {request.path for request in server.requests} == {EMBEDDINGS}
    assert [floats(response)[0][0] for response in responses] == list(lengths)
