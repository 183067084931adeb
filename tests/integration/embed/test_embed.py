"""Answers of the embed service: what the options of a call change, and what they do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, Encoding, InputType
from numpy.typing import NDArray

from tests.support.engines import Engine, embedding, model_section

TEXTS = ("the cat sits on the mat", "a dog runs", "green")
PROMPTS = 'query_prompt = "a dog "\ndocument_prompt = "the cat "'


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> AsyncIterator[Engine]:
    """Run an embed service with prompts for all tests: none of them changes it."""
    folder = tmp_path_factory.mktemp("embed")
    async with embedding(folder, model_section("tiny", tiny_model, PROMPTS)) as engine:
        yield engine


def rows(response: EmbedResponse) -> NDArray[np.float32]:
    """Return the embeddings of an answer with values."""
    return np.array([list(one.values) for one in response.embeddings], np.float32)


async def embed(engine: Engine, *texts: str, **options: object) -> NDArray[np.float32]:
    """Return embeddings of texts."""
    request = EmbedRequest(model="tiny", inputs=texts, **options)  # type: ignore[arg-type]  # any option
    return rows(await engine.ask(request))


async def test_embeddings_are_unit_vectors_in_the_order_of_the_inputs(engine: Engine) -> None:
    """The i-th embedding belongs to the i-th input, alone or in company."""
    together = await embed(engine, *TEXTS)
    alone = [await embed(engine, text) for text in TEXTS]
    assert together.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


async def test_the_only_model_needs_no_name_and_the_answer_has_it(engine: Engine) -> None:
    """An empty model name means the one that there is."""
    response = await engine.ask(EmbedRequest(inputs=["a"]))
    assert response.model == "tiny"


async def test_packed_embeddings_hold_the_same_numbers(engine: Engine) -> None:
    """Little-endian binary32, back to back; `values` stays empty, and the other way round."""
    floats = await engine.ask(EmbedRequest(inputs=TEXTS, encoding=Encoding.ENCODING_FLOAT))
    packed = await engine.ask(EmbedRequest(inputs=TEXTS, encoding=Encoding.ENCODING_FLOAT32))
    assert not any(one.packed for one in floats.embeddings)
    assert not any(one.values for one in packed.embeddings)
    unpacked = np.array([np.frombuffer(one.packed, "<f4") for one in packed.embeddings])
    np.testing.assert_allclose(unpacked, rows(floats), atol=1e-6)


async def test_fewer_dimensions_are_the_first_ones_at_length_one_again(engine: Engine) -> None:
    """Matryoshka: cut, then normalized; without `normalize` just cut."""
    full = await embed(engine, *TEXTS, normalize=False)
    raw = await embed(engine, *TEXTS, normalize=False, dimensions=8)
    unit = await embed(engine, *TEXTS, dimensions=8)
    np.testing.assert_allclose(raw, full[:, :8], atol=1e-5)
    np.testing.assert_allclose(unit, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
    assert not np.allclose(np.linalg.norm(full, axis=1), 1)


async def test_the_input_type_chooses_the_prompt(engine: Engine) -> None:
    """The model's prompts stand before queries and documents, and before nothing else."""
    query = await embed(engine, "sits", input_type=InputType.INPUT_TYPE_QUERY)
    document = await embed(engine, "sits", input_type=InputType.INPUT_TYPE_DOCUMENT)
    np.testing.assert_allclose(query, await embed(engine, "a dog sits"), atol=1e-5)
    np.testing.assert_allclose(document, await embed(engine, "the cat sits"), atol=1e-5)


async def test_truncation_keeps_the_side_that_was_asked_for(engine: Engine) -> None:
    """Right cuts the end off, left the beginning: each equals the text that is left."""
    words = " ".join(["cat"] * 62 + ["dog"] * 62)  # 62 and two special tokens are all that fits
    right = await embed(engine, words, truncation=Truncation.TRUNCATION_RIGHT)
    left = await embed(engine, words, truncation=Truncation.TRUNCATION_LEFT)
    np.testing.assert_allclose(right, await embed(engine, " ".join(["cat"] * 62)), atol=1e-5)
    np.testing.assert_allclose(left, await embed(engine, " ".join(["dog"] * 62)), atol=1e-5)


async def test_an_answer_says_what_it_cost(engine: Engine) -> None:
    """Tokens with special ones, and times that fit into the total."""
    response = await engine.ask(EmbedRequest(inputs=["the cat sits", "green"]))
    assert response.usage.input_tokens == 5 + 3
    timings = response.timings
    total = timings.total_time.ToNanoseconds()
    assert total > 0
    assert 0 < timings.inference_time.ToNanoseconds() <= total
    assert 0 < timings.tokenize_time.ToNanoseconds() <= total
    assert 0 <= timings.queue_time.ToNanoseconds() <= total
    assert response.cached_inputs == 0


async def test_many_callers_at_once_each_get_their_own_answers(engine: Engine) -> None:
    """Shared batches never mix up whose row is whose."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    alone = {letter: await embed(engine, letter) for letter in letters}
    answers = await asyncio.gather(*(embed(engine, letter) for letter in letters * 4))
    for letter, answer in zip(letters * 4, answers, strict=True):
        np.testing.assert_allclose(answer, alone[letter], atol=1e-5)
