"""What callers of rerankers are promised, whatever the model."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.config import Limits
from services.inference.batching import Policy
from services.inference.errors import (
    DeadlinePassed,
    InferenceError,
    InferenceFailed,
    InputTooLong,
    InvalidInput,
    QueueFull,
)
from services.inference.models.reranking import Reranker, RerankOptions, Scored
from tests.support.engine_parts import LIMIT_SECONDS
from tests.support.polling import until
from tests.support.reranking import MAX_TOKENS, cross_encoder, order, scores

LIMITS = Limits(max_client_batch_size=20, max_input_characters=400)
LOGITS = {"cat": -1.0, "dog": 2.5, "tree": 0.25, "mat": 7.0}
SECRET = "zanzibar"


def known(query: str, document: str) -> list[float]:
    """Answer with the logit of a word."""
    del query
    return [LOGITS[document]]


def number(query: str, document: str) -> list[float]:
    """Answer with the number in a document."""
    del query
    return [float(document.rsplit(maxsplit=1)[-1])]


def nothing(query: str, document: str) -> list[float]:
    """Find every document as relevant as any other."""
    del query, document
    return [0.0]


async def waits(model: Reranker) -> bool:
    """Say whether something waits for a model."""
    return bool(model.queue_size)


def sigmoid(x: float) -> float:
    """Return the logistic function of a number."""
    return 1 / (1 + math.exp(-x))


async def test_results_stand_in_descending_order_with_the_sigmoid_of_the_logit(tmp_path: Path) -> None:
    """Scores lie between 0 and 1, and say which document they belong to."""
    async with cross_encoder(tmp_path, known) as (model, _):
        ranking = await model.rerank("the", list(LOGITS), RerankOptions())

    assert order(ranking) == [3, 1, 2, 0]
    expected = [sigmoid(LOGITS[word]) for word in ("mat", "dog", "tree", "cat")]
    np.testing.assert_allclose(scores(ranking), expected, rtol=0, atol=1e-7)


async def test_raw_scores_are_the_logits_in_the_same_order(tmp_path: Path) -> None:
    """Who calibrates scores for himself gets what the model computed."""
    async with cross_encoder(tmp_path, known) as (model, _):
        ranking = await model.rerank("the", list(LOGITS), RerankOptions(raw_scores=True))

    assert ranking.results == [Scored(3, 7.0), Scored(1, 2.5), Scored(2, 0.25), Scored(0, -1.0)]


async def test_of_two_logits_the_second_speaks_for_relevance(tmp_path: Path) -> None:
    """The raw score is the logarithm of the odds, the score its share in the softmax."""
    logits = {"cat": [1.0, 0.5], "dog": [-2.0, 1.0]}
    async with cross_encoder(tmp_path, lambda _, document: logits[document]) as (model, _):
        raw = await model.rerank("the", ["cat", "dog"], RerankOptions(raw_scores=True))
        ranking = await model.rerank("the", ["cat", "dog"], RerankOptions())

    assert raw.results == [Scored(1, 3.0), Scored(0, -0.5)]
    shares = [math.exp(b) / (math.exp(a) + math.exp(b)) for a, b in (logits["dog"], logits["cat"])]
    assert order(ranking) == [1, 0]
    np.testing.assert_allclose(scores(ranking), shares, rtol=0, atol=1e-7)


@pytest.mark.parametrize("logit", [-1e30, -1e4, -89.0, 89.0, 1e4, 1e30])
async def test_extreme_logits_have_scores_between_zero_and_one(tmp_path: Path, logit: float) -> None:
    """A model that is very sure of itself neither overflows nor warns."""
    async with cross_encoder(tmp_path, lambda *_: [logit]) as (model, _):
        ranking = await model.rerank("the", ["cat"], RerankOptions())

    assert scores(ranking)[0] == pytest.approx(0.0 if logit < 0 else 1.0, abs=1e-30)


async def test_equal_scores_keep_the_order_of_the_request(tmp_path: Path) -> None:
    """Forty documents of four scores stand in four groups, each in the order in which they were sent."""
    documents = [f"{'cat ' * (place % 5 + 1)}{place} {place % 4}" for place in range(40)]
    async with cross_encoder(tmp_path, number) as (model, _):
        ranking = await model.rerank("the", documents, RerankOptions())

    assert order(ranking) == sorted(range(40), key=lambda place: (-(place % 4), place))


async def test_scores_that_differ_only_beyond_what_is_returned_are_equal(tmp_path: Path) -> None:
    """The caller sees two scores of 1, and finds them in the order that he was promised."""
    logits = {"cat": [30.0], "dog": [60.0]}
    async with cross_encoder(tmp_path, lambda _, document: logits[document]) as (model, _):
        ranking = await model.rerank("the", ["cat", "dog"], RerankOptions())
        raw = await model.rerank("the", ["cat", "dog"], RerankOptions(raw_scores=True))

    assert ranking.results == [Scored(0, 1.0), Scored(1, 1.0)]
    assert order(raw) == [1, 0]


@pytest.mark.parametrize("top_n", [1, 2, 4])
async def test_top_n_are_the_best(tmp_path: Path, top_n: int) -> None:
    """The results are the first ones of the whole ranking, and as many as there are documents is allowed."""
    async with cross_encoder(tmp_path, known) as (model, runner):
        ranking = await model.rerank("the", list(LOGITS), RerankOptions(top_n=top_n))

    assert order(ranking) == [3, 1, 2, 0][:top_n]
    assert len(runner.pairs) == len(LOGITS)


async def test_identical_documents_are_computed_once(tmp_path: Path) -> None:
    """Each of them is in the results, with the same score, and usage counts what was computed."""
    documents = ["cat", "dog", "cat", "cat", "dog"]
    async with cross_encoder(tmp_path, known) as (model, runner):
        ranking = await model.rerank("the", documents, RerankOptions())

    assert sorted(runner.pairs) == [("the", "cat"), ("the", "dog")]
    assert order(ranking) == [1, 4, 0, 2, 3]
    assert len(set(scores(ranking))) == 2
    assert ranking.input_tokens == 2 * 5  # [CLS] the [SEP] cat [SEP]


@pytest.mark.parametrize(("truncation", "kept"), [("right", "dog"), ("left", "cat")])
async def test_document_is_cut_and_never_the_query(tmp_path: Path, truncation: Any, kept: str) -> None:
    """What is left of the document fills the room beside the query; usage counts what is left."""
    query = " ".join(["the"] * 20)
    document = " ".join(["dog"] * 40 + ["cat"] * 40)
    async with cross_encoder(tmp_path, nothing) as (model, runner):
        ranking = await model.rerank(query, [document, "mat"], RerankOptions(truncation=truncation))

    assert sorted(runner.pairs) == sorted([(query, " ".join([kept] * 9)), (query, "mat")])
    assert ranking.input_tokens == MAX_TOKENS + 24


async def test_documents_that_are_too_long_are_all_named(tmp_path: Path) -> None:
    """With their places in the request, repetitions left out, and by how much they are too long."""
    documents = ["cat", "cat", "dog " * 40, "mat", "dog " * 40, "tree " * 50]
    async with cross_encoder(tmp_path, nothing) as (model, runner):
        with pytest.raises(InputTooLong) as raised:
            await model.rerank("the", documents, RerankOptions())

    assert raised.value.violations == (
        ("documents[2]", "has 44 tokens, 12 more than the model takes"),
        ("documents[5]", "has 54 tokens, 22 more than the model takes"),
    )
    assert runner.pairs == []


@pytest.mark.parametrize("truncation", ["none", "right", "left"])
async def test_query_that_leaves_no_room_is_named(tmp_path: Path, truncation: Any) -> None:
    """A score of a document of which nothing is left would mean nothing."""
    async with cross_encoder(tmp_path, nothing) as (model, _):
        options = RerankOptions(truncation=truncation)
        await model.rerank("the " * (MAX_TOKENS - 4), ["cat"], options)
        with pytest.raises(InputTooLong) as raised:
            await model.rerank("the " * (MAX_TOKENS - 3), ["cat"], options)

    assert [path for path, _ in raised.value.violations] == ["query"]


@pytest.mark.parametrize(
    ("query", "documents", "top_n", "violations"),
    [
        ("", ["cat"], None, [("query", "must not be empty")]),
        (" \n\u3000", ["cat"], None, [("query", "must not be empty")]),
        ("a" * 401, ["cat"], None, [("query", "has 401 characters, 400 at most")]),
        ("the", [], None, [("documents", "must hold at least 1 document")]),
        ("the", ["cat"] * 21, None, [("documents", "has 21 documents, 20 at most per call")]),
        ("the", ["cat"] * 7 + [""], None, [("documents[7]", "must not be empty")]),
        ("the", ["cat", "b" * 401], None, [("documents[1]", "has 401 characters, 400 at most")]),
        ("the", ["cat"], 0, [("top_n", "is 0, must be at least 1")]),
        ("the", ["cat", "cat"], 3, [("top_n", "is 3, more than the number of documents, 2")]),
        (
            "",
            ["\t", "cat", "b" * 500],
            -1,
            [
                ("query", "must not be empty"),
                ("documents[0]", "must not be empty"),
                ("documents[2]", "has 500 characters, 400 at most"),
                ("top_n", "is -1, must be at least 1"),
            ],
        ),
        ("", [], 5, [("query", "must not be empty"), ("documents", "must hold at least 1 document")]),
    ],
)
async def test_everything_that_is_wrong_is_named_at_once(
    tmp_path: Path,
    query: str,
    documents: list[str],
    top_n: int | None,
    violations: list[tuple[str, str]],
) -> None:
    """With its path, so that a caller repairs a call in one go; nothing is computed."""
    async with cross_encoder(tmp_path, nothing, limits=LIMITS) as (model, runner):
        with pytest.raises(InvalidInput) as raised:
            await model.rerank(query, documents, RerankOptions(top_n=top_n))

    assert list(raised.value.violations) == violations
    assert runner.pairs == []


@pytest.mark.parametrize(
    ("query", "documents"),
    [
        (f"{SECRET} " * 20, ["cat"]),
        ("the", ["cat", f"{SECRET} " * 20]),
        (SECRET, [SECRET, ""]),
        (SECRET * 100, [SECRET * 100]),
    ],
)
async def test_errors_never_contain_the_text(tmp_path: Path, query: str, documents: list[str]) -> None:
    """Status messages end up in logs of proxies and in other people's dashboards."""
    async with cross_encoder(tmp_path, nothing, limits=LIMITS) as (model, _):
        with pytest.raises(InferenceError) as raised:
            await model.rerank(query, documents, RerankOptions())

    assert (
        SECRET not in f"{raised.value!s} {raised.value!r} {raised.value.metadata} {raised.value.violations}"
    )


async def test_pair_that_cannot_be_computed_is_named_by_its_document(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first document that has the text is named; calls that shared the batch get their answers."""
    async with cross_encoder(tmp_path, known) as (model, _):
        failed, *others = await asyncio.gather(
            model.rerank("the", ["cat", "cat", "fast", "fast"], RerankOptions()),
            *(model.rerank("the", ["cat", "dog"], RerankOptions()) for _ in range(4)),
            return_exceptions=True,
        )

    assert isinstance(failed, InferenceFailed)
    assert failed.metadata == {"parameter": "documents[2]"}
    assert all(not isinstance(other, BaseException) for other in others)
    assert [record.message for record in caplog.records] == ["an input could not be computed"]


async def test_full_queue_refuses_the_whole_call(tmp_path: Path) -> None:
    """Distinct documents count, repeated ones do not."""
    policy = Policy(max_batch_tokens=5, max_batch_size=1, max_queue_size=10)
    async with cross_encoder(tmp_path, nothing, policy=policy) as (model, _):
        await model.rerank("the", ["cat", "dog"] * 10, RerankOptions())
        with pytest.raises(QueueFull):
            await model.rerank("the", [f"cat {place}" for place in range(11)], RerankOptions())


async def test_call_whose_deadline_passes_in_the_queue_fails_with_that(tmp_path: Path) -> None:
    """Its documents are not computed once nobody waits for them."""
    policy = Policy(max_batch_tokens=5, max_batch_size=1, max_queue_size=10)
    async with cross_encoder(tmp_path, known, policy=policy) as (model, runner):
        runner.gate.clear()
        running = asyncio.create_task(model.rerank("the", ["cat"], RerankOptions()))
        assert await asyncio.to_thread(runner.begun.wait, LIMIT_SECONDS)
        late = asyncio.create_task(model.rerank("the", ["dog"], RerankOptions(deadline=0.0)))
        await until(lambda: waits(model))
        runner.gate.set()
        with pytest.raises(DeadlinePassed):
            await late
        await running

    assert runner.pairs == [("the", "cat")]


async def test_tokens_of_texts_are_counted_by_themselves(tmp_path: Path) -> None:
    """As for any other model; what is refused elsewhere is refused here."""
    async with cross_encoder(tmp_path, nothing, limits=LIMITS) as (model, _):
        assert await model.count_tokens(["cat", "the cat sits", "dog " * 60]) == [3, 5, 62]
        assert model.max_input_tokens == MAX_TOKENS
        with pytest.raises(InvalidInput) as raised:
            await model.count_tokens(["cat", ""])
        with pytest.raises(InvalidInput):
            await model.count_tokens([])

    assert raised.value.violations == (("inputs[1]", "must not be empty"),)


async def test_times_are_told(tmp_path: Path) -> None:
    """Where the time of a call went is part of its answer."""
    async with cross_encoder(tmp_path, known) as (model, _):
        ranking = await model.rerank("the", ["cat", "dog"], RerankOptions())

    assert ranking.tokenize_seconds > 0
    assert ranking.queue_seconds >= 0
    assert ranking.inference_seconds > 0
