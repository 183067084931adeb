"""Answers of Classify: labels by score, with any template, on their own or not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from inglenook.common.v1 import Truncation
from inglenook.nli.v1 import ClassifyRequest, ClassifyResponse, ClassifyResult
from numpy.typing import NDArray

from tests.support.engines import Engine
from tests.support.nli_service import infer_request, judging_service, nli_section
from tests.support.stubs import LIMIT_SECONDS

TEXTS = ("the cat sits on the mat", "a dog runs fast", "green")
LABELS = ("cat", "dog", "slow tree", "\u6c34")


@pytest.fixture(scope="module")
async def engine(
    tmp_path_factory: pytest.TempPathFactory, three_classes: Path, two_classes: Path
) -> AsyncIterator[Engine]:
    """Run an nli service with a model of three classes and one of two: no test changes it."""
    models = nli_section("tiny", three_classes) + nli_section("two", two_classes)
    async with judging_service(tmp_path_factory.mktemp("nli"), models) as engine:
        yield engine


async def classify(
    engine: Engine, inputs: Sequence[str] = TEXTS, labels: Sequence[str] = LABELS, **options: object
) -> ClassifyResponse:
    """Return the answer about texts and labels."""
    options = {"model": "tiny", **options}
    request = ClassifyRequest(inputs=inputs, labels=labels, **options)  # type: ignore[arg-type]  # any option
    return await engine.nli.Classify(request, timeout=LIMIT_SECONDS)


def by_label(result: ClassifyResult) -> dict[str, float]:
    """Return scores by label, after a look at their order."""
    scores = [one.score for one in result.scores]
    assert scores == sorted(scores, reverse=True)
    return {one.label: one.score for one in result.scores}


async def entailment(
    engine: Engine, text: str, hypotheses: Sequence[str], model: str = "tiny"
) -> NDArray[np.float64]:
    """Return what Infer says: entailment, and contradiction or else what is missing to 1, by hypothesis."""
    request = infer_request([(text, one) for one in hypotheses], model)
    results = (await engine.nli.Infer(request, timeout=LIMIT_SECONDS)).results
    others = [one.contradiction if one.HasField("contradiction") else 1 - one.entailment for one in results]
    return np.array([[one.entailment for one in results], others])


async def test_scores_of_labels_that_exclude_each_other_add_up_to_one(engine: Engine) -> None:
    """Every label, as the request wrote it, the likeliest first; one result per text."""
    response = await classify(engine)
    assert len(response.results) == len(TEXTS)
    for result in response.results:
        assert sorted(by_label(result)) == sorted(LABELS)
        assert sum(by_label(result).values()) == pytest.approx(1, abs=1e-5)
    assert response.model == "tiny"


@pytest.mark.parametrize("model", ["tiny", "two"])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
async def test_scores_of_labels_on_their_own_are_entailment_against_the_opposite(
    engine: Engine, model: str, labels: tuple[str, ...]
) -> None:
    """As Infer says of the same hypotheses; a single label is on its own whatever was asked."""
    multi_label = len(labels) > 1
    response = await classify(engine, labels=labels, model=model, multi_label=multi_label)
    for text, result in zip(TEXTS, response.results, strict=True):
        wanted, opposite = await entailment(
            engine, text, [f"This example is {one}." for one in labels], model
        )
        scores = by_label(result)
        expected = wanted / (wanted + opposite)
        np.testing.assert_allclose([scores[label] for label in labels], expected, atol=1e-5)


async def test_the_template_makes_the_hypotheses(engine: Engine) -> None:
    """Another sentence, another answer; braces of a label are part of the label."""
    labels = ["cat", "{}"]
    response = await classify(
        engine, [TEXTS[0]], labels, multi_label=True, hypothesis_template="the {} runs fast!"
    )
    wanted, opposite = await entailment(engine, TEXTS[0], [f"the {label} runs fast!" for label in labels])
    scores = by_label(response.results[0])
    np.testing.assert_allclose([scores[one] for one in labels], wanted / (wanted + opposite), atol=1e-5)
    default = await classify(engine, [TEXTS[0]], labels, multi_label=True)
    assert abs(scores["cat"] - by_label(default.results[0])["cat"]) > 1e-3


@pytest.mark.parametrize("side", [Truncation.TRUNCATION_RIGHT, Truncation.TRUNCATION_LEFT])
async def test_a_long_text_is_cut_to_make_room_for_each_hypothesis(
    engine: Engine, side: Truncation.ValueType
) -> None:
    """What is left of the text is judged beside whole labels of any length."""
    text = " ".join(["cat"] * 60 + ["dog"] * 60)
    labels = ["mat", " ".join(["tree"] * 40)]
    response = await classify(
        engine, [text], labels, multi_label=True, hypothesis_template="{}", truncation=side
    )
    scores = by_label(response.results[0])
    for label in labels:
        words = text.split()
        room = 64 - 3 - len(label.split())
        kept = words[:room] if side == Truncation.TRUNCATION_RIGHT else words[-room:]
        wanted, opposite = await entailment(engine, " ".join(kept), [label])
        np.testing.assert_allclose(scores[label], (wanted / (wanted + opposite))[0], atol=1e-5)
    assert response.usage.input_tokens == 2 * 64


async def test_equal_texts_cost_once(engine: Engine) -> None:
    """Each of them has its answer all the same."""
    once = await classify(engine, TEXTS[:2])
    thrice = await classify(engine, [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]])
    assert thrice.usage == once.usage
    assert [thrice.results[index] for index in (2, 3)] == [thrice.results[0]] * 2


async def test_many_texts_and_labels_are_classified_in_one_call(engine: Engine) -> None:
    """Thirty-two by thirty-two, the most that a call may hold: each text as if it were alone."""
    texts = [f"the cat {index}" for index in range(32)]
    labels = [f"dog {index}" for index in range(32)]
    response = await classify(engine, texts, labels)
    assert len(response.results) == 32
    for index in (0, 13, 31):
        alone = by_label((await classify(engine, [texts[index]], labels)).results[0])
        together = by_label(response.results[index])
        np.testing.assert_allclose(
            [together[one] for one in labels], [alone[one] for one in labels], atol=1e-5
        )
