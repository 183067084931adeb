"""Answers of Infer: which class is which, what is cut, and whose answer is whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inglenook.common.v1 import Capability, Truncation
from inglenook.model.v1 import CountTokensRequest, GetModelRequest
from inglenook.nli.v1 import InferResponse
from numpy.typing import NDArray

from tests.support.engines import Engine
from tests.support.nli_service import infer_request, judging_service, nli_section
from tests.support.stubs import LIMIT_SECONDS

PAIRS = (("the cat sits on the mat", "a cat sits"), ("a dog runs", "the tree is green"), ("green", "slow"))


@pytest.fixture(scope="module")
async def engine(
    tmp_path_factory: pytest.TempPathFactory, three_classes: Path, two_classes: Path
) -> AsyncIterator[Engine]:
    """Run an nli service with a model of three classes and one of two: no test changes it."""
    models = nli_section("tiny", three_classes) + nli_section("two", two_classes)
    async with judging_service(tmp_path_factory.mktemp("nli"), models) as engine:
        yield engine


async def infer(engine: Engine, *pairs: tuple[str, str], **options: Any) -> InferResponse:
    """Return the answer about pairs."""
    return await engine.nli.Infer(infer_request(pairs, **options), timeout=LIMIT_SECONDS)


def rows(response: InferResponse) -> NDArray[np.float64]:
    """Return probabilities, [pairs, classes]."""
    return np.array([[one.entailment, one.neutral, one.contradiction] for one in response.results])


async def test_probabilities_add_up_to_one_in_the_order_of_the_pairs(engine: Engine) -> None:
    """The i-th result belongs to the i-th pair, alone or in company."""
    together = rows(await infer(engine, *PAIRS))
    alone = [rows(await infer(engine, pair)) for pair in PAIRS]
    assert together.shape == (3, 3)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


async def test_the_direction_of_a_pair_matters(engine: Engine) -> None:
    """A cat is an animal, and not the other way round."""
    there, back = rows(await infer(engine, PAIRS[0], PAIRS[0][::-1]))
    assert not np.allclose(there, back, atol=1e-3)


async def test_a_model_of_two_classes_leaves_out_what_it_cannot_tell_apart(engine: Engine) -> None:
    """Absent, not 0; `ModelInfo.labels` tells why."""
    response = await infer(engine, *PAIRS, model="two")
    for one in response.results:
        assert 0 < one.entailment < 1
        assert not one.HasField("neutral")
        assert not one.HasField("contradiction")
    told = await engine.models.GetModel(GetModelRequest(model="two"), timeout=LIMIT_SECONDS)
    assert list(told.model.labels) == ["entailment", "not_entailment"]
    assert told.model.capability == Capability.CAPABILITY_NLI


async def test_labels_of_the_configuration_go_before_those_of_the_model(
    tmp_path: Path, engine: Engine, three_classes: Path
) -> None:
    """For models whose own names say nothing, or the wrong thing."""
    order = 'labels = ["neutral", "contradiction", "entailment"]'
    async with judging_service(tmp_path, nli_section("tiny", three_classes, order)) as other:
        turned = rows(await infer(other, *PAIRS))
        told = await other.models.GetModel(GetModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
    # By themselves the model's classes are contradiction, entailment, neutral.
    np.testing.assert_allclose(turned[:, [2, 0, 1]], rows(await infer(engine, *PAIRS)), atol=1e-5)
    assert list(told.model.labels) == ["neutral", "contradiction", "entailment"]


async def test_a_long_premise_keeps_the_side_that_was_asked_for(engine: Engine) -> None:
    """Each answer is that about the premise that is left; the hypothesis is whole in both."""
    premise, hypothesis = " ".join(["cat"] * 40 + ["dog"] * 40), "the tree is green"
    room = 64 - 3 - 5  # of 64 tokens, three are special, and "is" takes two
    right = await infer(engine, (premise, hypothesis), truncation=Truncation.TRUNCATION_RIGHT)
    left = await infer(engine, (premise, hypothesis), truncation=Truncation.TRUNCATION_LEFT)
    kept = " ".join(["cat"] * 40 + ["dog"] * (room - 40)), " ".join(["cat"] * (room - 40) + ["dog"] * 40)
    cut = rows(await infer(engine, *((one, hypothesis) for one in kept)))
    np.testing.assert_allclose(np.concatenate([rows(right), rows(left)]), cut, atol=1e-5)
    assert right.usage.input_tokens == left.usage.input_tokens == 64


async def test_an_answer_says_what_it_cost(engine: Engine) -> None:
    """Tokens with special ones, of equal pairs once, and times that fit into the total."""
    pair = ("the cat sits", "a dog")
    response = await infer(engine, pair, ("green", "green"), pair)
    assert response.model == "tiny"
    assert response.usage.input_tokens == (3 + 2 + 3) + (1 + 1 + 3)
    timings = response.timings
    total = timings.total_time.ToNanoseconds()
    assert 0 < timings.inference_time.ToNanoseconds() <= total
    assert 0 < timings.tokenize_time.ToNanoseconds() <= total
    assert 0 <= timings.queue_time.ToNanoseconds() <= total
    assert response.cached_inputs == 0


async def test_a_thousand_pairs_in_one_call_are_answered_in_order(engine: Engine) -> None:
    """More than any batch holds, of mixed lengths, and some of them equal."""
    words = ("cat", "dog", "tree", "mat", "the cat sits on the mat and a dog runs")
    pairs = [(f"{words[index % 5]} {index % 97}", words[index % 3]) for index in range(1000)]
    answers = rows(await infer(engine, *pairs))
    chosen = range(0, 1000, 83)
    alone = [rows(await infer(engine, pairs[index])) for index in chosen]
    assert answers.shape == (1000, 3)
    np.testing.assert_allclose(answers[chosen], np.concatenate(alone), atol=1e-5)


async def test_a_caller_that_leaves_harms_nobody_else(engine: Engine) -> None:
    """Its pairs wait among those of others; they get their own answers, as ever."""
    pairs = [("the cat sits on the mat", f"a dog {index}") for index in range(40)]
    expected = rows(await infer(engine, *pairs))
    flood = [("a tree " * 10, f"the {index}") for index in range(1000)]
    leaving = [engine.nli.Infer(infer_request(flood), timeout=LIMIT_SECONDS) for _ in range(3)]
    staying = asyncio.gather(*(infer(engine, pair) for pair in pairs))
    await asyncio.sleep(0)
    for call in leaving:
        call.cancel()
    np.testing.assert_allclose(np.concatenate(list(map(rows, await staying))), expected, atol=1e-5)
    np.testing.assert_allclose(rows(await infer(engine, *pairs)), expected, atol=1e-5)


async def test_tokens_of_a_text_are_counted_by_itself(engine: Engine) -> None:
    """With the special tokens of a single text; the limit is that of a pair."""
    request = CountTokensRequest(model="tiny", inputs=["the cat sits", "a " * 100])
    told = await engine.models.CountTokens(request, timeout=LIMIT_SECONDS)
    assert list(told.token_counts) == [5, 102]
    assert told.max_input_tokens == 64


async def test_raw_scores_are_what_the_probabilities_are_made_of(engine: Engine) -> None:
    """Of three classes their difference is that of the logs; of two, a softmax over them is the answer."""
    for one in (await infer(engine, *PAIRS, raw_scores=True)).results:
        told = np.log(one.entailment) - np.log(one.contradiction)
        assert one.raw_scores.entailment - one.raw_scores.opposite == pytest.approx(told, abs=1e-4)
    for one in (await infer(engine, *PAIRS, model="two", raw_scores=True)).results:
        powers = np.exp([one.raw_scores.opposite, one.raw_scores.entailment])
        assert one.entailment == pytest.approx(powers[1] / powers.sum(), abs=1e-6)


async def test_raw_scores_are_sent_only_on_request(engine: Engine) -> None:
    """Who wants probabilities gets no more than those."""
    assert not any(one.HasField("raw_scores") for one in (await infer(engine, *PAIRS)).results)
