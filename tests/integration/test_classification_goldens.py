"""Logits against those that transformers, sentence-transformers and PEFT compute (tests/golden)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from services.inference.encoding import Encoding
from services.inference.graph.build import Plan, Precision
from services.inference.graph.heads import ClassificationHead, EmbeddingHead
from services.inference.graph.layout import LayoutName
from services.inference.session import Session, SessionSettings
from tests.support import classification as cases
from tests.support.graphs import open_graph, run

TOLERANCE: Final = 1e-4
BATCH_TOLERANCE: Final = 1e-5
HALF_TOLERANCE: Final = 2e-2

LAYOUTS: Final[tuple[LayoutName, ...]] = ("packed", "padded")

Golden = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    """Return the arrays of `classification.npz`, described in `make_classification_goldens.py`."""
    with np.load(cases.CLASSIFICATION_FILE, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(
    scope="module", params=[(family, labels) for family in cases.FAMILIES for labels in cases.LABELS]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int, Path]:
    """Return a family, a number of labels, and the folder of such a model."""
    family, labels = request.param
    return family, labels, cases.FAMILIES[family](tmp_path_factory.mktemp(family) / "model", labels=labels)


def one_by_one(session: Session, encodings: list[Encoding]) -> NDArray[np.float32]:
    """Return what a graph answers when each input is all that there is to do."""
    return np.concatenate([run(session, [encoding]) for encoding in encodings])


def batches(encodings: list[Encoding]) -> Iterator[list[int]]:
    """Yield batches of indices in which every input meets shorter and longer ones, and all at once."""
    every = list(range(len(encodings)))
    yield every
    yield every[::-1]
    for start in range(4):
        yield every[start::4]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_are_those_that_transformers_computes(
    case: tuple[str, int, Path], golden: Golden, layout: LayoutName
) -> None:
    """One, two and three labels, each pair alone and among others, packed and padded."""
    family, labels, folder = case
    # Else numpy draws other random numbers than it did when the goldens were made: make them again.
    np.testing.assert_array_equal(cases.last_weights(folder), golden[f"{family}-{labels}/weights"])
    encodings = cases.encode(folder, cases.PAIRS)
    session = open_graph(folder, Plan(ClassificationHead(labels), layout=layout))

    alone = one_by_one(session, encodings)

    assert alone.shape == (len(cases.PAIRS), labels)
    np.testing.assert_allclose(alone, golden[f"{family}-{labels}/logits"], rtol=0, atol=TOLERANCE)
    for batch in batches(encodings):
        answers = run(session, [encodings[index] for index in batch])
        np.testing.assert_allclose(answers, alone[batch], rtol=0, atol=BATCH_TOLERANCE)


def test_scores_are_those_that_the_cross_encoder_predicts(
    case: tuple[str, int, Path], golden: Golden
) -> None:
    """Raw scores are the logits, and the others their sigmoid, for one label and for several."""
    family, labels, folder = case
    session = open_graph(folder, Plan(ClassificationHead(labels)))

    logits = run(session, cases.encode(folder, cases.PAIRS))

    identity, sigmoid = (golden[f"{family}-{labels}/{kind}"] for kind in ("identity", "sigmoid"))
    np.testing.assert_allclose(logits, identity, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), sigmoid, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_in_half_precision_are_close(
    case: tuple[str, int, Path], golden: Golden, layout: LayoutName
) -> None:
    """The encoder computes in fp16, the head in fp32, and the answer is fp32."""
    family, labels, folder = case
    precision: Precision = "fp16"
    session = open_graph(folder, Plan(ClassificationHead(labels), precision=precision, layout=layout))

    answers = run(session, cases.encode(folder, cases.PAIRS))

    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, golden[f"{family}-{labels}/logits"], rtol=0, atol=HALF_TOLERANCE)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pooling", cases.POOLINGS)
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_embeddings_of_the_roberta_family_are_those_that_transformers_computes(
    tmp_path: Path, golden: Golden, family: str, pooling: Any, layout: LayoutName
) -> None:
    """Positions begin after the padding token's id, and there are no token types to be asked for."""
    folder = cases.FAMILIES[family](tmp_path / "model")
    encodings = cases.encode_texts(folder, cases.TEXTS)
    session = open_graph(folder, Plan(EmbeddingHead(pooling), layout=layout))

    alone = one_by_one(session, encodings)

    assert "token_type_ids" not in session.inputs
    np.testing.assert_allclose(alone, golden[f"{family}/{pooling}"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(run(session, encodings), alone, rtol=0, atol=BATCH_TOLERANCE)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", cases.ADAPTER_CASES)
def test_merged_adapter_computes_what_peft_computes_beside_the_model(
    tmp_path: Path, golden: Golden, name: str, layout: LayoutName
) -> None:
    """Patterns of ranks and scales, saved heads and biases, and tables of words, as PEFT wrote the files."""
    folder = cases.ADAPTER_CASES[name].write_base(tmp_path / "model")
    plan = Plan(ClassificationHead(cases.ADAPTER_LABELS), layout=layout)
    session = open_graph(folder, plan, cases.ADAPTERS / name)

    answers = run(session, cases.encode(folder, cases.PAIRS))

    for kind in ("logits", "merged"):
        np.testing.assert_allclose(answers, golden[f"adapter-{name}/{kind}"], rtol=0, atol=TOLERANCE)


def test_deberta_that_torch_has_exported_answers_as_it_did_there(golden: Golden) -> None:
    """A ready-made file is asked which inputs it has: this one has no token types."""
    session = Session(cases.DEBERTA / "model.onnx", SessionSettings())
    encodings = cases.encode(cases.DEBERTA, cases.PAIRS)

    alone = one_by_one(session, encodings)

    assert session.inputs == {"input_ids", "attention_mask"}
    np.testing.assert_allclose(alone, golden["deberta/logits"], rtol=0, atol=TOLERANCE)
    for batch in batches(encodings):
        answers = run(session, [encodings[index] for index in batch])
        np.testing.assert_allclose(answers, alone[batch], rtol=0, atol=BATCH_TOLERANCE)
