from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from services.artifacts import ArtifactProblem
from services.inference.encoding import Encoding
from services.inference.graph.build import Head, Plan
from services.inference.graph.heads import LOGITS_OUTPUT, ClassificationHead, EmbeddingHead
from services.inference.graph.layout import LayoutName
from services.inference.padding import pad
from services.inference.session import Session
from tests.support.graphs import build_graph, numpy_model, open_graph, random_encodings, run
from tests.support.tiny import write_model
from tests.support.tiny_roberta import write_roberta, write_xlm_roberta

CLOSE = 1e-5
LAYOUTS: list[LayoutName] = ["packed", "padded"]
FAMILIES = {"bert": write_model, "roberta": write_roberta, "xlm-roberta": write_xlm_roberta}
LENGTHS = (12, 3, 64, 5, 29)
LABELS = 3


def random_pairs(lengths: tuple[int, ...] | list[int], seed: int = 0) -> list[Encoding]:
    """Return encodings of two texts each, of these lengths together."""
    return [
        replace(one, type_ids=[2 * index // len(one) for index in range(len(one))])
        for one in random_encodings(lengths, seed=seed)
    ]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[LayoutName, Session]:
    """Return the graphs of a BERT with three labels."""
    folder = write_model(tmp_path_factory.mktemp("bert") / "model", labels=LABELS)
    return {layout: open_graph(folder, Plan(ClassificationHead(LABELS), layout=layout)) for layout in LAYOUTS}


@pytest.mark.parametrize("labels", [1, 2, 3, 7])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_what_the_formulas_say(
    tmp_path: Path, family: str, layout: LayoutName, labels: int
) -> None:
    """BERT's pooler and layer, or the two layers of the RoBERTa family, over the first token."""
    write: Callable[..., Path] = FAMILIES[family]
    folder = write(tmp_path / "model", labels=labels)
    encodings = random_pairs(LENGTHS) if family == "bert" else random_encodings(LENGTHS)
    expected = [numpy_model(folder).logits(one.ids, one.type_ids) for one in encodings]

    session = open_graph(folder, Plan(ClassificationHead(labels), layout=layout))

    np.testing.assert_allclose(run(session, encodings), expected, rtol=0, atol=CLOSE)


@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=8), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_layouts_agree_and_batch_mates_change_nothing(
    sessions: dict[LayoutName, Session], lengths: list[int], seed: int
) -> None:
    """The same pair gives the same logits whatever shares its batch, padded or packed."""
    encodings = random_pairs(lengths, seed)
    alone = np.concatenate([run(sessions["packed"], [one]) for one in encodings])

    for layout in LAYOUTS:
        np.testing.assert_allclose(run(sessions[layout], encodings), alone, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_built_files_have_logits_in_single_precision(
    tmp_path: Path, family: str, layout: LayoutName, precision: str
) -> None:
    """Whatever the encoder computes in, the head's weights and its answer are fp32."""
    plan = Plan(
        ClassificationHead(LABELS), precision="fp16" if precision == "fp16" else "fp32", layout=layout
    )
    path = build_graph(FAMILIES[family](tmp_path / "model", labels=LABELS), plan)

    onnx.checker.check_model(str(path), full_check=True)

    graph = onnx.load(str(path), load_external_data=False).graph
    assert [output.name for output in graph.output] == [LOGITS_OUTPUT]
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    head = [one for one in graph.initializer if one.name.startswith(("classifier", "pooler"))]
    assert len(head) == 4
    assert {one.data_type for one in head} == {onnx.TensorProto.FLOAT}


def last_feed_forward(path: Path, encodings: list[Encoding]) -> NDArray[np.float32]:
    """Return what the wide layer of the last block computes."""
    model = onnx.load(str(path))
    weight = "encoder.layer.1.intermediate.dense.weight"
    name = next(node.output[0] for node in model.graph.node if weight in node.input)
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = {node.name for node in session.get_inputs()}
    return np.asarray(session.run([name], pad(encodings, inputs))[0])


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        (ClassificationHead(LABELS), len(LENGTHS)),
        (EmbeddingHead("cls"), len(LENGTHS)),
        (EmbeddingHead("mean"), sum(LENGTHS)),
        (EmbeddingHead("last_token"), sum(LENGTHS)),
    ],
)
def test_last_layer_computes_only_what_the_head_reads(tmp_path: Path, head: Head, rows: int) -> None:
    """A head over the first token never reads the last layer of the others, so nobody computes it."""
    folder = write_model(tmp_path / "model", labels=LABELS)

    packed = last_feed_forward(build_graph(folder, Plan(head)), random_pairs(LENGTHS))
    padded = last_feed_forward(build_graph(folder, Plan(head, layout="padded")), random_pairs(LENGTHS))

    assert packed.shape == (rows, 64)
    assert padded.shape == (len(LENGTHS), max(LENGTHS), 64)  # GPUs have a faster way for whole layers


def test_weights_without_a_head_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """An embedding model cannot be a cross-encoder, but it can rerank in its own way."""
    folder = write_model(tmp_path / "model")

    with pytest.raises(
        ArtifactProblem, match=r"no classification head .* kind = \"bi-encoder\".* an adapter"
    ):
        build_graph(folder, Plan(ClassificationHead(1)))


def test_head_of_another_number_of_labels_is_refused_with_both_shapes(tmp_path: Path) -> None:
    """The config.json names labels, the weights have rows; they must be of the same model."""
    folder = write_model(tmp_path / "model", labels=2)

    with pytest.raises(ArtifactProblem, match=r"classifier.weight has shape \(2, 32\), .* \(3, 32\)"):
        build_graph(folder, Plan(ClassificationHead(3)))


def test_head_of_bert_without_its_pooler_is_refused(tmp_path: Path) -> None:
    """Encoders are sometimes saved without it, and a head over something else would answer nonsense."""
    folder = write_model(tmp_path / "model", labels=2)
    path = folder / "model.safetensors"
    tensors = {name: one for name, one in load_file(path).items() if "pooler" not in name}
    save_file(tensors, path)

    with pytest.raises(ArtifactProblem, match=r"has no tensor pooler.dense.weight"):
        build_graph(folder, Plan(ClassificationHead(2)))
