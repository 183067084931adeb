from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from services.config import Limits
from services.inference.errors import InferenceError, InferenceFailed, InputTooLong, InvalidInput
from services.inference.models.labels import Roles
from services.inference.models.logits import softmax as stable_softmax
from services.inference.models.nli import InferOptions, Pair
from services.inference.pairs import Truncation
from tests.support.entailment import THREE, Judge, judging, softmax
from tests.support.onnx_files import POISON_TEXT

LIMITS = Limits(max_client_batch_size=300, max_input_characters=400)
SECRET = "zanzibar"
CUTS: list[Truncation] = ["right", "left"]


@pytest.fixture
async def judge(tmp_path: Path) -> AsyncIterator[Judge]:
    """A model of three classes: contradiction, entailment, neutral."""
    async with judging(tmp_path, THREE, limits=LIMITS) as judge:
        yield judge


def pairs_of(*texts: tuple[str, str]) -> list[Pair]:
    """Return pairs."""
    return [Pair(*pair) for pair in texts]


@pytest.mark.parametrize(
    "roles",
    [Roles(1, neutral=2, contradiction=0), Roles(0, neutral=1, contradiction=2), Roles(2, 0, 1)],
)
async def test_each_class_gets_the_probability_of_its_own_logit(tmp_path: Path, roles: Roles) -> None:
    """Wherever the model has it; all three add up to 1."""
    pairs = pairs_of(("the cat sits", "a cat"), ("a dog", "the dog runs"))
    async with judging(tmp_path, roles) as judge:
        judged = await judge.model.infer(pairs, InferOptions())

        for pair, result in zip(pairs, judged.results, strict=True):
            expected = softmax(judge.logits(*pair))
            order = [place for place in astuple(roles) if place is not None]
            np.testing.assert_allclose(list(astuple(result)[:3]), expected[order], rtol=1e-9)
            assert sum(astuple(result)[:3]) == pytest.approx(1)


async def test_a_model_without_a_class_leaves_its_field_out(tmp_path: Path) -> None:
    """Not 0, which would say that it cannot be; what is told apart adds up to 1."""
    pair = Pair("the cat sits", "a cat")
    for roles, known in [(Roles(1, contradiction=0), "contradiction"), (Roles(0, neutral=1), "neutral")]:
        async with judging(tmp_path, roles, width=2) as judge:
            (result,) = (await judge.model.infer([pair], InferOptions())).results
            probabilities = softmax(judge.logits(*pair))
        assert result.entailment == pytest.approx(probabilities[roles.entailment])
        assert getattr(result, known) == pytest.approx(probabilities[1 - roles.entailment])
        assert {result.neutral, result.contradiction} - {getattr(result, known)} == {None}


async def test_what_is_only_known_not_to_be_entailment_is_neither_neutral_nor_contradiction(
    tmp_path: Path,
) -> None:
    """It is what is missing to 1."""
    pair = Pair("the cat sits", "a cat")
    async with judging(tmp_path, Roles(1, rest=0), width=2) as judge:
        (result,) = (await judge.model.infer([pair], InferOptions())).results
        assert result.entailment == pytest.approx(softmax(judge.logits(*pair))[1])
    assert (result.neutral, result.contradiction) == (None, None)


def test_logits_of_any_size_give_probabilities() -> None:
    """Fine-tuned models are sure of themselves; fp16 ones go to 65504."""
    found = stable_softmax(np.array([[1e30, -1e30, 0], [65504, 65503, -65504], [-1e30, -1e30, -1e30]]))
    np.testing.assert_allclose(found[0], [1, 0, 0])
    np.testing.assert_allclose(found[1], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0])
    np.testing.assert_allclose(found[2], [1 / 3] * 3)


async def test_equal_pairs_are_computed_once_and_answered_each(judge: Judge) -> None:
    """Neither texts in common nor the reversed pair are the same pair; usage counts what was computed."""
    cat, dog = ("the cat", "a cat"), ("a dog", "a cat")
    pairs = pairs_of(cat, dog, cat, cat[::-1], dog, cat)

    judged = await judge.model.infer(pairs, InferOptions())

    distinct = [judge.ids(*pair) for pair in dict.fromkeys(pairs)]
    assert sorted(judge.computed) == sorted(distinct)
    assert len(distinct) == 3
    assert judged.cost.input_tokens == sum(map(len, distinct))
    for pair, result in zip(pairs, judged.results, strict=True):
        assert result.entailment == pytest.approx(softmax(judge.logits(*pair))[1])


async def test_order_of_the_pairs_is_kept(judge: Judge) -> None:
    """Three hundred pairs of mixed length, in one call."""
    numbers = [f"{number:o}" for number in range(300)]  # octal: a 9 cannot be computed here
    pairs = [
        Pair(f"{'the cat ' * (index % 9)}{one}", f"a dog {one[-1]}") for index, one in enumerate(numbers)
    ]

    judged = await judge.model.infer(pairs, InferOptions())

    expected = [softmax(judge.logits(*pair))[1] for pair in pairs]
    np.testing.assert_allclose([one.entailment for one in judged.results], expected, rtol=1e-9)


@pytest.mark.parametrize("side", CUTS)
async def test_the_premise_is_cut_and_never_the_hypothesis(judge: Judge, side: Truncation) -> None:
    """Even if the hypothesis is the longer one: what is asked must be asked whole."""
    assert side != "none"
    long = "".join(f"cat {letter} " for letter in "abcdefghijklmnopqrstuvwxyz")
    pairs = pairs_of((long * 2, "a dog"), (long, f"{long} mat on"), ("a", f"{long} a"))

    judged = await judge.model.infer(pairs, InferOptions(truncation=side))

    for pair, result in zip(pairs, judged.results, strict=True):
        assert result.entailment == pytest.approx(softmax(judge.logits(*pair, side))[1])
    assert judged.cost.input_tokens == 64 + 64 + 57


async def test_pairs_that_are_too_long_are_refused_by_name(judge: Judge) -> None:
    """All of them, with the text that could be shorter; a pair that is there twice is named once."""
    long = "cat " * 62
    pairs = pairs_of(("a", "b"), (long, "a dog"), ("a", "b"), (long, "a dog"), ("a cat", "dog " * 62))

    with pytest.raises(InputTooLong) as raised:
        await judge.model.infer(pairs, InferOptions())

    assert list(raised.value.violations) == [
        ("pairs[1].premise", "has 67 tokens, 3 more than the model takes"),
        ("pairs[4].hypothesis", "has 67 tokens, 3 more than the model takes"),
    ]
    assert judge.computed == []


async def test_a_hypothesis_that_leaves_no_room_is_refused_even_with_truncation(judge: Judge) -> None:
    """A premise of no tokens would be no question."""
    pairs = pairs_of(("a", "dog " * 60), ("a cat", "dog " * 61))
    await judge.model.infer(pairs[:1], InferOptions(truncation="right"))

    with pytest.raises(InputTooLong) as raised:
        await judge.model.infer(pairs, InferOptions(truncation="right"))

    assert [path for path, _ in raised.value.violations] == ["pairs[1].hypothesis"]


@pytest.mark.parametrize(
    ("pairs", "violations"),
    [
        ([], [("pairs", "must hold at least 1 pair")]),
        ([("a", "b")] * 301, [("pairs", "has 301 pairs, 300 at most per call")]),
        ([("a", "b"), ("", "b")], [("pairs[1].premise", "must not be empty")]),
        ([("a", " \t\n\u3000")], [("pairs[0].hypothesis", "must not be empty")]),
        ([("a" * 401, "b")], [("pairs[0].premise", "has 401 characters, 400 at most")]),
        (
            [("", ""), ("a", "b"), ("a", "b" * 500)],
            [
                ("pairs[0].premise", "must not be empty"),
                ("pairs[0].hypothesis", "must not be empty"),
                ("pairs[2].hypothesis", "has 500 characters, 400 at most"),
            ],
        ),
    ],
)
async def test_everything_that_is_wrong_with_pairs_is_named_at_once(
    judge: Judge, pairs: list[tuple[str, str]], violations: list[tuple[str, str]]
) -> None:
    """With its path, so that a caller repairs a call in one go."""
    with pytest.raises(InvalidInput) as raised:
        await judge.model.infer(pairs_of(*pairs), InferOptions())

    assert list(raised.value.violations) == violations


async def test_a_pair_that_cannot_be_computed_is_named_and_fails_only_its_own_call(
    judge: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    """By its place in the call, and its text is in no log."""
    poisoned = pairs_of(("a", "b"), ("a", "b"), ("cat", f"{SECRET} {POISON_TEXT}"))

    with caplog.at_level(logging.DEBUG):
        failed, other = await asyncio.gather(
            judge.model.infer(poisoned, InferOptions()),
            judge.model.infer(pairs_of(("a", "b"), ("cat", "dog")), InferOptions()),
            return_exceptions=True,
        )

    assert isinstance(failed, InferenceFailed)
    assert failed.metadata == {"parameter": "pairs[2]"}
    assert not isinstance(other, BaseException)
    assert len(other.results) == 2
    assert all(SECRET not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    "pair", [(f"{SECRET} " * 20, "a"), ("a", f"{SECRET} " * 20), (SECRET * 100, SECRET), (SECRET, "")]
)
async def test_errors_never_contain_texts_of_pairs(judge: Judge, pair: tuple[str, str]) -> None:
    """Status messages end up in logs of proxies and in other people's dashboards."""
    with pytest.raises(InferenceError) as raised:
        await judge.model.infer(pairs_of(pair), InferOptions())

    assert (
        SECRET not in f"{raised.value!s} {raised.value!r} {raised.value.metadata} {raised.value.violations}"
    )


async def test_a_caller_that_leaves_takes_nothing_from_the_others(judge: Judge) -> None:
    """Its pairs share batches with those of the callers that stay."""
    stays = [Pair("the cat", f"a dog {number:o}") for number in range(50)]
    leaving = asyncio.create_task(judge.model.infer(pairs_of(("a", "b")) * 300, InferOptions()))
    staying = asyncio.create_task(judge.model.infer(stays, InferOptions()))
    await asyncio.sleep(0)

    leaving.cancel()

    judged = await staying
    assert [one.entailment for one in judged.results] == pytest.approx(
        [softmax(judge.logits(*pair))[1] for pair in stays]
    )
    assert leaving.cancelled()
    assert judge.model.queue_size == 0


async def test_tokens_are_counted_of_each_text_by_itself(judge: Judge) -> None:
    """Special tokens included and nothing cut; empty texts are refused as everywhere."""
    assert await judge.model.count_tokens(["cat", "cat " * 90]) == [3, 92]
    assert judge.model.max_input_tokens == 64
    for inputs in ([], [""], ["a" * 401], ["a"] * 301):
        with pytest.raises(InvalidInput):
            await judge.model.count_tokens(inputs)
