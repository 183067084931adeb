"""Answers of the rerank service: what the options of a call change, and what they do not."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest
from inglenook.common.v1 import Capability, ModelState, Truncation
from inglenook.model.v1 import CountTokensRequest, ListModelsRequest
from inglenook.rerank.v1 import RerankRequest, RerankResponse
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library

from services.chassis.testing import FailedCall
from tests.integration.rerank.conftest import SERVICE, Folders
from tests.support.engines import Engine
from tests.support.graphs import numpy_model
from tests.support.routing import failed
from tests.support.stubs import LIMIT_SECONDS

QUERY = "the cat sits"
DOCUMENTS = ("a dog runs fast", "the cat sits on the mat", "green", "a tree!", "the cat sits")
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def request(model: str = "cross", **changes: object) -> RerankRequest:
    """Return a request, with some of its fields changed."""
    fields = {"model": model, "query": QUERY, "documents": DOCUMENTS, **changes}
    return RerankRequest(**fields)  # type: ignore[arg-type]  # any field


async def ask(engine: Engine, asked: RerankRequest) -> RerankResponse:
    """Return the answer to a call."""
    return await engine.rerank.Rerank(asked, timeout=LIMIT_SECONDS)


async def refusal(engine: Engine, asked: RerankRequest, seconds: float = LIMIT_SECONDS) -> FailedCall:
    """Return how a call fails."""
    return await failed(engine.rerank.Rerank(asked, timeout=seconds))


def order(response: RerankResponse) -> list[int]:
    """Return which document is where, best first."""
    return [one.index for one in response.results]


def by_document(response: RerankResponse) -> NDArray[np.float64]:
    """Return scores in the order of the documents."""
    return np.array([one.score for one in sorted(response.results, key=lambda one: one.index)])


def logits(folders: Folders) -> NDArray[np.float64]:
    """Return what the cross-encoder's weights say of each document."""
    bert, library = numpy_model(folders.cross), Library.from_file(str(folders.cross / "tokenizer.json"))
    encoded = [library.encode(QUERY, document) for document in DOCUMENTS]
    return np.array([bert.logits(one.ids, one.type_ids)[0] for one in encoded])


async def test_documents_come_back_by_relevance_with_scores_between_zero_and_one(
    engine: Engine, folders: Folders
) -> None:
    """Each result says which document it belongs to; the texts are left out."""
    response = await ask(engine, request())
    expected = logits(folders)
    assert order(response) == list(np.argsort(-expected))
    np.testing.assert_allclose(by_document(response), 1 / (1 + np.exp(-expected)), rtol=0, atol=1e-5)
    assert not any(one.HasField("document") for one in response.results)
    assert response.model == "cross"
    assert response.cached_inputs == 0


async def test_raw_scores_are_logits(engine: Engine, folders: Folders) -> None:
    """The order is the same, the numbers are what the model computed."""
    response = await ask(engine, request(raw_scores=True))
    np.testing.assert_allclose(by_document(response), logits(folders), rtol=0, atol=1e-4)
    assert order(response) == order(await ask(engine, request()))


@pytest.mark.parametrize("model", ["cross", "bi"])
async def test_top_n_returns_the_best_and_return_documents_repeats_their_texts(
    engine: Engine, model: str
) -> None:
    """What the caller shows to people needs no second look-up."""
    whole = await ask(engine, request(model))
    best = await ask(engine, request(model, top_n=2, return_documents=True))
    assert order(best) == order(whole)[:2]
    assert [one.document for one in best.results] == [DOCUMENTS[one.index] for one in best.results]


async def test_bi_encoder_finds_a_text_most_similar_to_itself(engine: Engine) -> None:
    """Its raw scores are cosines, its scores lie between 0 and 1, in the same order."""
    raw = await ask(engine, request("bi", raw_scores=True))
    response = await ask(engine, request("bi"))
    assert order(response) == order(raw)
    assert order(response)[0] == DOCUMENTS.index(QUERY)
    assert raw.results[0].score == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(by_document(response), (1 + by_document(raw)) / 2, rtol=0, atol=1e-6)


async def test_repeated_documents_are_each_in_the_answer_and_computed_once(engine: Engine) -> None:
    """Equal scores keep the order of the request, and usage counts what was computed."""
    once = await ask(engine, request(documents=["green", "a dog"]))
    often = await ask(engine, request(documents=["green", "a dog", "green", "green", "a dog"]))
    groups = {0: [0, 2, 3], 1: [1, 4]}
    assert order(often) == [index for first in order(once) for index in groups[first]]
    assert often.usage.input_tokens == once.usage.input_tokens == 7 + 8
    assert len({one.score for one in often.results}) == 2


async def test_an_answer_says_what_it_cost(engine: Engine) -> None:
    """Tokens of the pairs with special ones, and times that fit into the total."""
    response = await ask(engine, request(documents=["green"]))
    assert response.usage.input_tokens == 7
    assert not response.usage.HasField("output_tokens")
    total = response.timings.total_time.ToNanoseconds()
    assert 0 < response.timings.inference_time.ToNanoseconds() <= total
    assert 0 < response.timings.tokenize_time.ToNanoseconds() <= total
    assert 0 <= response.timings.queue_time.ToNanoseconds() <= total


async def test_truncation_cuts_the_side_of_the_document_that_was_asked_for(engine: Engine) -> None:
    """What is left is scored as if it had been sent; without truncation the document is named."""
    room = 64 - 3 - 3  # special tokens and the query
    long = " ".join(["dog"] * 80 + ["tree"] * 80)
    right = await ask(engine, request(documents=[long], truncation=Truncation.TRUNCATION_RIGHT))
    left = await ask(engine, request(documents=[long], truncation=Truncation.TRUNCATION_LEFT))
    kept = [(await ask(engine, request(documents=[" ".join([word] * room)]))) for word in ("dog", "tree")]
    assert right.results[0].score == pytest.approx(kept[0].results[0].score, abs=1e-5)
    assert left.results[0].score == pytest.approx(kept[1].results[0].score, abs=1e-5)

    told = await refusal(engine, request(documents=["green", long]))
    assert (told.code, told.reason) == (INVALID, "INPUT_TOO_LONG")
    assert [path for path, _ in told.violations] == ["documents[1]"]
    assert told.metadata["maxInputTokens"] == "64"


@pytest.mark.parametrize("model", ["cross", "bi"])
async def test_query_that_leaves_no_room_is_refused_whatever_may_be_cut(engine: Engine, model: str) -> None:
    """The query is never cut: its answer would be to another question."""
    asked = request(model, query="cat " * 70, truncation=Truncation.TRUNCATION_RIGHT)
    told = await refusal(engine, asked)
    assert (told.code, told.reason) == (INVALID, "INPUT_TOO_LONG")
    assert [path for path, _ in told.violations] == ["query"]


@pytest.mark.parametrize("model", ["cross", "bi"])
@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"query": ""}, ["query"]),
        ({"query": " \n"}, ["query"]),
        ({"query": "a" * 2001}, ["query"]),
        ({"documents": []}, ["documents"]),
        ({"documents": ["cat"] * 1025}, ["documents"]),
        ({"documents": ["cat"] * 7 + ["", "cat"]}, ["documents[7]"]),
        ({"documents": ["cat", "a" * 2001]}, ["documents[1]"]),
        ({"top_n": 0}, ["top_n"]),
        ({"top_n": -3}, ["top_n"]),
        ({"top_n": 6}, ["top_n"]),
        ({"truncation": 99}, ["truncation"]),
        ({"query": "", "documents": ["cat", ""], "top_n": 9}, ["query", "documents[1]", "top_n"]),
    ],
)
async def test_bad_input_is_refused_with_the_path_of_each_field(
    engine: Engine, model: str, changes: dict[str, object], paths: list[str]
) -> None:
    """All that is wrong with a call is told at once."""
    told = await refusal(engine, request(model, **changes))
    assert (told.code, told.reason) == (INVALID, "INVALID_REQUEST")
    assert [path for path, _ in told.violations] == paths
    assert all(path in told.message for path in paths)


async def test_unknown_model_is_answered_with_those_that_exist(engine: Engine) -> None:
    """A misspelt name is one look away from the right one."""
    told = await refusal(engine, request("cros"))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert told.metadata == {"models": "cross,bi"}


async def test_model_of_another_capability_is_told_apart_from_a_misspelt_name(engine: Engine) -> None:
    """The caller learns what the model is for."""
    told = await refusal(engine, request("embedder"))
    assert (told.code, told.reason) == (INVALID, "WRONG_CAPABILITY")
    assert told.metadata == {"model": "embedder", "capability": "embed"}


async def test_with_several_models_a_call_has_to_name_one(engine: Engine) -> None:
    """The message has the names."""
    told = await refusal(engine, request(""))
    assert (told.code, told.reason) == (INVALID, "INVALID_REQUEST")
    assert [path for path, _ in told.violations] == ["model"]


async def test_deadline_that_has_passed_ends_the_call(engine: Engine) -> None:
    """Nobody is left to wait for the answer."""
    told = await refusal(engine, request(), seconds=0.0)
    assert told.code == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_thousand_documents_are_answered_beside_small_calls(engine: Engine) -> None:
    """Neither is the large call refused, nor does anybody get somebody else's scores."""
    many = [f"{'cat ' * (place % 9)}{place}" for place in range(1_000)]
    alone = by_document(await ask(engine, request()))
    large, *small = await asyncio.gather(
        ask(engine, request(documents=many, return_documents=True)),
        *(ask(engine, request()) for _ in range(8)),
    )
    assert sorted(order(large)) == list(range(1_000))
    assert all(one.document == many[one.index] for one in large.results)
    scores = [one.score for one in large.results]
    assert scores == sorted(scores, reverse=True)
    for response in small:
        np.testing.assert_allclose(by_document(response), alone, rtol=0, atol=1e-5)


async def test_models_and_tokens_of_rerankers_are_told(engine: Engine) -> None:
    """Tokens are those of each text by itself; the limit of a cross-encoder is for both texts together."""
    assert await engine.serves(SERVICE)
    listed = (await engine.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)).models
    assert [one.name for one in listed] == ["cross", "bi"]
    assert {one.capability for one in listed} == {Capability.CAPABILITY_RERANK}
    assert {one.state for one in listed} == {ModelState.MODEL_STATE_READY}
    for name in ("cross", "bi"):
        asked = CountTokensRequest(model=name, inputs=["the cat sits", "a " * 100])
        told = await engine.models.CountTokens(asked, timeout=LIMIT_SECONDS)
        assert (list(told.token_counts), told.max_input_tokens, told.model) == ([5, 102], 64, name)
    empty = CountTokensRequest(model="cross", inputs=["cat", ""])
    refused = await failed(engine.models.CountTokens(empty, timeout=LIMIT_SECONDS))
    assert [path for path, _ in refused.violations] == ["inputs[1]"]
