"""A small DeBERTa-v3 that torch has exported to ONNX, behind the service as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import numpy as np
import pytest
from inglenook.common.v1 import Truncation
from inglenook.model.v1 import GetModelRequest
from inglenook.nli.v1 import ClassifyRequest

from tests.support.classification import CLASSIFICATION_FILE, DEBERTA, MAX_TOKENS, PAIRS
from tests.support.engines import Engine
from tests.support.nli_service import infer_request, judging_service, nli_section
from tests.support.stubs import LIMIT_SECONDS

TOLERANCE: Final = 1e-4


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """Run an nli service with the exported model."""
    section = nli_section("deberta", DEBERTA, f"max_input_tokens = {MAX_TOKENS}")
    async with judging_service(tmp_path_factory.mktemp("deberta"), section) as engine:
        yield engine


async def test_a_ready_made_deberta_judges_as_it_did_in_transformers(engine: Engine) -> None:
    """Which of its inputs a graph has is asked of the graph; classes are those of its `config.json`."""
    with np.load(CLASSIFICATION_FILE, allow_pickle=False) as arrays:
        logits = np.asarray(arrays["deberta/logits"], np.float64)
    whole = [index for index, pair in enumerate(PAIRS[:13]) if all(map(str.strip, pair))]

    request = infer_request([PAIRS[index] for index in whole], "deberta")
    response = await engine.nli.Infer(request, timeout=LIMIT_SECONDS)

    expected = np.exp(logits[whole]) / np.exp(logits[whole]).sum(axis=1, keepdims=True)
    answers = [[one.entailment, one.neutral, one.contradiction] for one in response.results]
    assert len(answers) == 11
    np.testing.assert_allclose(answers, expected, rtol=0, atol=TOLERANCE)


async def test_a_ready_made_deberta_classifies(engine: Engine) -> None:
    """By the same numbers: entailment against contradiction for labels on their own."""
    text, labels = "the cat sits on the mat " * 20, ["a cat sits", "the dog runs", "\u6c34"]
    classify = ClassifyRequest(
        model="deberta",
        inputs=[text],
        labels=labels,
        hypothesis_template="{}",
        multi_label=True,
        truncation=Truncation.TRUNCATION_RIGHT,
    )
    infer = infer_request([(text, one) for one in labels], "deberta", truncation=classify.truncation)

    (result,) = (await engine.nli.Classify(classify, timeout=LIMIT_SECONDS)).results
    judged = (await engine.nli.Infer(infer, timeout=LIMIT_SECONDS)).results

    scores = {one.label: one.score for one in result.scores}
    expected = [one.entailment / (one.entailment + one.contradiction) for one in judged]
    np.testing.assert_allclose([scores[label] for label in labels], expected, rtol=0, atol=1e-5)


async def test_a_ready_made_model_is_described_by_its_own_classes(engine: Engine) -> None:
    """In the order of its outputs, and with the architecture of its `config.json`."""
    told = (await engine.models.GetModel(GetModelRequest(model="deberta"), timeout=LIMIT_SECONDS)).model
    assert list(told.labels) == ["entailment", "neutral", "contradiction"]
    assert told.max_input_tokens == MAX_TOKENS
