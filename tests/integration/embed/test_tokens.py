"""Texts that come as token ids, and what an answer tells besides the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, TokenInput
from inglenook.model.v1 import GetModelRequest
from tokenizers import Tokenizer

from services.chassis.load_report import decode
from services.chassis.testing import read_failure
from services.chassis.trailing import FINGERPRINT_KEY
from tests.support.engines import Engine, embedding, model_section
from tests.support.stubs import LIMIT_SECONDS

TEXTS = ("the cat sits on the mat", "a dog runs", "green")


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> AsyncIterator[Engine]:
    """Run an embed service for all tests: none of them changes it."""
    async with embedding(tmp_path_factory.mktemp("embed"), model_section("tiny", tiny_model)) as engine:
        yield engine


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    """Return the model's own tokenizer."""
    return Tokenizer.from_file(str(tiny_model / "tokenizer.json"))


def tokens_of(*inputs: Sequence[int], **options: Any) -> EmbedRequest:
    """Return a request with token ids."""
    return EmbedRequest(model="tiny", token_inputs=[TokenInput(ids=ids) for ids in inputs], **options)


async def refused(engine: Engine, request: EmbedRequest) -> list[str]:
    """Return the fields that a request is refused for."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await engine.ask(request)
    failure = read_failure(raised.value)
    assert failure.reason == "INVALID_REQUEST"
    return [field for field, _ in failure.violations]


async def test_token_ids_stand_for_their_text(engine: Engine, tokenizer: Tokenizer) -> None:
    """Ids of the model's own vocabulary, without special tokens, give the embeddings of the texts."""
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    of_tokens = await engine.ask(tokens_of(*ids))
    of_texts = await engine.ask(EmbedRequest(model="tiny", inputs=TEXTS))
    assert _values(of_tokens) == [pytest.approx(values, abs=1e-5) for values in _values(of_texts)]
    assert of_tokens.usage.input_tokens == of_texts.usage.input_tokens


@pytest.mark.parametrize("wrong", [-1, 1_000_000])
async def test_an_id_that_the_vocabulary_lacks_is_named(engine: Engine, wrong: int) -> None:
    """The first one of each input."""
    fields = await refused(engine, tokens_of([1], [1, wrong, wrong], [wrong]))
    assert fields == ["token_inputs[1].ids[1]", "token_inputs[2].ids[0]"]


async def test_an_input_without_ids_is_named(engine: Engine) -> None:
    """It is a text of nothing, and called what the caller called it."""
    assert await refused(engine, tokens_of([1], [])) == ["token_inputs[1]"]


async def test_texts_and_tokens_do_not_go_together(engine: Engine) -> None:
    """Nobody could tell in which order the answers are."""
    assert await refused(engine, tokens_of([1], inputs=["a"])) == ["token_inputs"]


async def test_answer_tells_its_model_and_the_load(engine: Engine) -> None:
    """The fingerprint is the one that the model service tells, and a load report goes with it."""
    call = engine.embed.Embed(EmbedRequest(model="tiny", inputs=["a"]), timeout=LIMIT_SECONDS)
    await call
    trailing = [(key, value) for key, value in await call.trailing_metadata()]
    info = await engine.models.GetModel(GetModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
    assert dict(trailing)[FINGERPRINT_KEY] == info.model.fingerprint != ""
    load = decode(trailing)
    assert load is not None
    assert 0 <= load <= 1


def _values(response: EmbedResponse) -> list[list[float]]:
    return [list(one.values) for one in response.embeddings]
