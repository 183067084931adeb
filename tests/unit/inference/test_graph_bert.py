from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.config import Pooling
from services.inference.encoding import Encoding
from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from services.inference.graph.layout import LayoutName
from services.inference.padding import IDS, MASK, TYPES, pad
from services.inference.session import Session
from tests.support.graphs import build_graph, numpy_model, open_graph, random_encodings, run
from tests.support.tiny import Shape, write_model

CLOSE = 1e-5
LAYOUTS: list[LayoutName] = ["packed", "padded"]
POOLINGS: list[Pooling] = ["cls", "mean", "last_token"]
MIXED_LENGTHS = (1, 17, 64, 2, 1, 33)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the usual kind."""
    return write_model(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture(scope="module")
def sessions(folder: Path) -> dict[LayoutName, Session]:
    """Its graph in each layout, mean pooling."""
    return {layout: open_graph(folder, Plan(EmbeddingHead("mean"), layout=layout)) for layout in LAYOUTS}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_computes_what_the_papers_say(folder: Path, layout: LayoutName, pooling: Pooling) -> None:
    """The builder is right if an independent implementation of the formulas gives the same numbers."""
    encodings = random_encodings(MIXED_LENGTHS)
    reference = numpy_model(folder)
    expected = [reference.embed(encoding.ids, pooling) for encoding in encodings]

    session = open_graph(folder, Plan(EmbeddingHead(pooling), layout=layout))

    np.testing.assert_allclose(run(session, encodings), expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_has_the_activation_of_the_config(tmp_path: Path, layout: LayoutName, activation: str) -> None:
    """The activations differ by more than the tolerance, so that a wrong one would be seen."""
    folder = write_model(tmp_path / "model", hidden_act=activation)
    encodings = random_encodings((9, 1, 30))
    expected = [numpy_model(folder).embed(encoding.ids) for encoding in encodings]

    session = open_graph(folder, Plan(EmbeddingHead("mean"), layout=layout))

    np.testing.assert_allclose(run(session, encodings), expected, rtol=0, atol=CLOSE)


def test_activations_can_be_told_apart(tmp_path: Path) -> None:
    """Without this, the test above could pass with the wrong activation."""
    ids = random_encodings((30,))[0].ids
    reference = numpy_model(write_model(tmp_path / "model"))
    embedded = [
        replace(reference, config={**reference.config, "hidden_act": activation}).embed(ids)
        for activation in ("gelu", "gelu_new", "relu")
    ]

    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(embedded[first] - embedded[second]).max() > 2 * CLOSE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_has_the_shape_and_the_epsilon_of_the_config(tmp_path: Path, layout: LayoutName) -> None:
    """No number of the architecture is taken for granted: these are unusual in every respect."""
    shape = Shape(
        hidden_size=30,
        num_hidden_layers=3,
        num_attention_heads=5,
        intermediate_size=41,
        max_position_embeddings=19,
        type_vocab_size=3,
        vocab_size=50,
    )
    folder = write_model(tmp_path / "model", shape=shape, layer_norm_eps=0.01)
    encodings = random_encodings((19, 1, 4), vocabulary=50)
    expected = [numpy_model(folder).embed(encoding.ids) for encoding in encodings]

    session = open_graph(folder, Plan(EmbeddingHead("mean"), layout=layout))

    np.testing.assert_allclose(run(session, encodings), expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_token_types_of_pairs_are_used(
    folder: Path, sessions: dict[LayoutName, Session], layout: LayoutName
) -> None:
    """Cross-encoders and NLI models tell the two texts of a pair apart by them."""
    types = [0, 0, 0, 1, 1]
    pair = replace(random_encodings((5,))[0], type_ids=types)
    longer = random_encodings((8,), seed=1)[0]
    expected = numpy_model(folder).hidden(pair.ids, types).mean(axis=0)

    computed = run(sessions[layout], [longer, pair])[1]

    np.testing.assert_allclose(computed, expected, rtol=0, atol=CLOSE)
    assert np.abs(computed - run(sessions[layout], [Encoding(pair.ids)])[0]).max() > 0.01


@given(
    lengths=st.lists(st.integers(1, 64), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_layouts_agree_and_batch_mates_change_nothing(
    sessions: dict[LayoutName, Session], lengths: list[int], seed: int
) -> None:
    """The same text gives the same vector whatever shares its batch, padded or packed."""
    encodings = random_encodings(lengths, seed=seed)
    alone = np.concatenate([run(sessions["packed"], [encoding]) for encoding in encodings])

    for layout in LAYOUTS:
        np.testing.assert_allclose(run(sessions[layout], encodings), alone, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_in_the_padding_does_not_matter(
    sessions: dict[LayoutName, Session], layout: LayoutName
) -> None:
    """Attention looks at real tokens only, and so does pooling."""
    feeds = pad(random_encodings(MIXED_LENGTHS), sessions[layout].inputs)
    clean = sessions[layout].run(feeds)

    feeds[IDS][feeds[MASK] == 0] = 77
    feeds[TYPES][feeds[MASK] == 0] = 1

    np.testing.assert_allclose(sessions[layout].run(feeds), clean, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_built_files_satisfy_the_onnx_checker(folder: Path, layout: LayoutName, pooling: Pooling) -> None:
    """ONNX Runtime is more forgiving than other programs that read these files."""
    plan = Plan(EmbeddingHead(pooling), layout=layout)

    onnx.checker.check_model(str(build_graph(folder, plan)), full_check=True)

    session = open_graph(folder, plan)
    assert session.inputs == {IDS, MASK, TYPES}
    assert session.pooled


@pytest.mark.parametrize("pooling", POOLINGS)
def test_half_precision_graph_is_valid_and_close(folder: Path, pooling: Pooling) -> None:
    """GPUs run this graph; the CPU runs it too, slowly, which is enough to compare the numbers."""
    encodings = random_encodings(MIXED_LENGTHS)
    single = run(open_graph(folder, Plan(EmbeddingHead(pooling), layout="padded")), encodings)
    plan = Plan(EmbeddingHead(pooling), precision="fp16", layout="padded")

    half = run(open_graph(folder, plan), encodings)

    onnx.checker.check_model(str(build_graph(folder, plan)), full_check=True)
    cosines = (single * half).sum(axis=1) / np.linalg.norm(single, axis=1) / np.linalg.norm(half, axis=1)
    assert cosines.min() > 0.9999
