"""What an nli service refuses, and how it says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from inglenook.nli.v1 import ClassifyRequest, InferRequest

from services.chassis.testing import FailedCall
from tests.support.engines import Engine, model_section
from tests.support.nli_service import infer_request, judging_service, nli_section, refused
from tests.support.zero_shot import write_nli_model

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SECRET = "zanzibar"
PAIR = ("a cat", "a dog")


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory, three_classes: Path) -> AsyncIterator[Engine]:
    """Run an nli service beside whose model the file has one for embeddings."""
    models = nli_section("tiny", three_classes) + model_section("minilm", three_classes)
    async with judging_service(tmp_path_factory.mktemp("nli"), models) as engine:
        yield engine


def classify_request(**fields: Any) -> ClassifyRequest:
    """Return a request that is right but for these fields."""
    return ClassifyRequest(**{"model": "tiny", "inputs": ["a cat"], "labels": ["a", "b"], **fields})


def fields(failure: FailedCall) -> list[str]:
    """Return the paths of the fields that are wrong."""
    return [field for field, _ in failure.violations]


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        (infer_request([]), ["pairs"]),
        (infer_request([PAIR] * 1025), ["pairs"]),
        (infer_request([PAIR, ("", "b"), ("a", " ")]), ["pairs[1].premise", "pairs[2].hypothesis"]),
        (infer_request([PAIR], truncation=99), ["truncation"]),
        (classify_request(inputs=[]), ["inputs"]),
        (classify_request(inputs=["a", ""]), ["inputs[1]"]),
        (classify_request(inputs=["a"] * 1025, labels=["b"]), ["inputs"]),
        (classify_request(labels=[]), ["labels"]),
        (classify_request(labels=["a", "\n"]), ["labels[1]"]),
        (classify_request(labels=["a", "b", "c", "b"]), ["labels[3]"]),
        (classify_request(inputs=["a"] * 513), ["labels"]),
        (classify_request(hypothesis_template="about it"), ["hypothesis_template"]),
        (classify_request(hypothesis_template="{} {}"), ["hypothesis_template"]),
        (classify_request(truncation=99), ["truncation"]),
        (
            classify_request(inputs=[""], labels=["", "a", "a"], hypothesis_template=" "),
            ["inputs[0]", "labels[0]", "labels[2]", "hypothesis_template"],
        ),
    ],
)
async def test_bad_fields_are_refused_by_their_paths(
    engine: Engine, request_: InferRequest | ClassifyRequest, wrong: list[str]
) -> None:
    """All of them at once, as INVALID_REQUEST."""
    told = await refused(engine, request_)
    assert (told.code, told.reason, fields(told)) == (INVALID, "INVALID_REQUEST", wrong)


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        (infer_request([PAIR, ("cat " * 70, "a dog")]), ["pairs[1].premise"]),
        (infer_request([PAIR, ("a", "dog " * 70)], truncation=2), ["pairs[1].hypothesis"]),
        (classify_request(inputs=["a", "cat " * 70]), ["inputs[1]"]),
        (classify_request(labels=["a", "cat " * 70], truncation=2), ["labels[1]"]),
    ],
)
async def test_what_is_too_long_is_refused_with_its_length(
    engine: Engine, request_: InferRequest | ClassifyRequest, wrong: list[str]
) -> None:
    """The text that has to be shorter, how long it may be, and no word of it."""
    told = await refused(engine, request_)
    assert (told.code, told.reason, fields(told)) == (INVALID, "INPUT_TOO_LONG", wrong)
    assert told.metadata["maxInputTokens"] == "64"
    assert "cat cat" not in told.message


@pytest.mark.parametrize("request_", [infer_request([PAIR], "tinny"), classify_request(model="tinny")])
async def test_an_unknown_model_is_told_with_those_that_there_are(
    engine: Engine, request_: InferRequest | ClassifyRequest
) -> None:
    """A misspelt name is answered with the right ones."""
    told = await refused(engine, request_)
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert told.metadata == {"models": "tiny"}


@pytest.mark.parametrize("request_", [infer_request([PAIR], "minilm"), classify_request(model="minilm")])
async def test_a_model_of_another_capability_says_which_one_it_has(
    engine: Engine, request_: InferRequest | ClassifyRequest
) -> None:
    """It is in the file, so it is not unknown; it only does something else."""
    told = await refused(engine, request_)
    assert (told.code, told.reason) == (INVALID, "WRONG_CAPABILITY")
    assert told.metadata == {"model": "minilm", "capability": "embed"}
    assert "embed" in told.message
    assert fields(told) == ["model"]


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("LABEL_0", "LABEL_1", "LABEL_2"), "set `labels`"),
        (("entailment", "contradiction", "neutral", "other"), "an NLI model has"),
        (("relevant",), "an NLI model has"),
    ],
)
async def test_a_model_whose_classes_mean_nothing_here_is_not_loaded(
    tmp_path: Path, classes: tuple[str, ...], told: str
) -> None:
    """Calls are answered MODEL_FAILED with the names and what to do, rather than with wrong numbers."""
    folder = write_nli_model(tmp_path / "model", *classes)
    async with judging_service(tmp_path, nli_section("tiny", folder), serves=False) as engine:
        failure = await refused(engine, infer_request([PAIR]))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
    assert ", ".join(classes) in failure.message
    assert told in failure.message


async def test_fewer_labels_in_the_configuration_than_outputs_are_refused(
    tmp_path: Path, three_classes: Path
) -> None:
    """Two names for three outputs would leave one without a meaning."""
    section = nli_section("tiny", three_classes, 'labels = ["entailment", "not_entailment"]')
    async with judging_service(tmp_path, section, serves=False) as engine:
        failure = await refused(engine, infer_request([PAIR]))
    assert failure.reason == "MODEL_FAILED"
    assert "2" in failure.message
    assert "3" in failure.message


@pytest.mark.parametrize(
    "request_",
    [
        infer_request([(f"{SECRET} " * 70, "a")]),
        infer_request([(SECRET, "")]),
        classify_request(labels=[SECRET, SECRET]),
        classify_request(hypothesis_template=SECRET),
        classify_request(inputs=["a"], labels=[f"{SECRET} " * 70]),
    ],
)
async def test_a_refusal_holds_no_word_of_what_was_sent(
    engine: Engine, request_: InferRequest | ClassifyRequest
) -> None:
    """It ends up in logs of proxies and in other people's dashboards."""
    told = await refused(engine, request_)
    assert SECRET not in f"{told.message} {told.metadata} {told.violations}"
