from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from services.artifacts import BUILDABLE
from services.config import Pooling
from services.inference.encoding import Encoding
from services.inference.graph.architectures import ARCHITECTURES
from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from services.inference.graph.layout import LayoutName
from services.inference.padding import IDS, MASK, TYPES, pad
from tests.support.graphs import build_graph, numpy_model, open_graph, random_encodings, run
from tests.support.tiny import Shape, write_model
from tests.support.tiny_roberta import PADDING_ID, ROBERTA, write_roberta, write_xlm_roberta

CLOSE = 1e-5
LAYOUTS: list[LayoutName] = ["packed", "padded"]
MIXED_LENGTHS = (1, 17, 64, 2, 1, 33)

Write = Callable[..., Path]


def test_every_family_that_folders_promise_can_be_built() -> None:
    """What is downloaded as buildable and what the builder knows are two lists of the same."""
    assert sorted(ARCHITECTURES) == sorted(BUILDABLE)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last_token"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("write", [write_roberta, write_xlm_roberta])
def test_graph_computes_what_the_formulas_say(
    tmp_path: Path, write: Write, layout: LayoutName, pooling: Pooling
) -> None:
    """Up to the longest text that the positions are enough for, in a batch with shorter ones."""
    folder = write(tmp_path / "model")
    encodings = random_encodings(MIXED_LENGTHS)
    expected = [numpy_model(folder).embed(encoding.ids, pooling) for encoding in encodings]

    session = open_graph(folder, Plan(EmbeddingHead(pooling), layout=layout))

    np.testing.assert_allclose(run(session, encodings), expected, rtol=0, atol=CLOSE)


def test_camembert_is_built_like_roberta(tmp_path: Path) -> None:
    """The two differ in what they were trained on, and in nothing else."""
    roberta = open_graph(write_roberta(tmp_path / "roberta"), Plan(EmbeddingHead("mean")))
    folder = write_roberta(tmp_path / "camembert", model_type="camembert")
    encodings = random_encodings(MIXED_LENGTHS)

    answers = run(open_graph(folder, Plan(EmbeddingHead("mean"))), encodings)

    np.testing.assert_array_equal(answers, run(roberta, encodings))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_token_in_the_midst_of_a_text_is_not_counted(tmp_path: Path, layout: LayoutName) -> None:
    """A text may spell it out; positions go on behind it as if it were not there, as in transformers."""
    folder = write_roberta(tmp_path / "model")
    encoding = Encoding([0, 9, PADDING_ID, 12, PADDING_ID, PADDING_ID, 30, 2])
    expected = numpy_model(folder).embed(encoding.ids)
    session = open_graph(folder, Plan(EmbeddingHead("mean"), layout=layout))

    answers = run(session, [*random_encodings((20,)), encoding])

    np.testing.assert_allclose(answers[1], expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("padding", [0, 3])
def test_positions_begin_after_the_padding_id_of_the_config(tmp_path: Path, padding: int) -> None:
    """Nearly every model says 1, and one that says otherwise means it."""
    folder = write_roberta(tmp_path / "model", pad_token_id=padding)
    encodings = random_encodings((9, 1, 30))
    expected = [numpy_model(folder).embed(encoding.ids) for encoding in encodings]

    answers = run(open_graph(folder, Plan(EmbeddingHead("mean"))), encodings)

    np.testing.assert_allclose(answers, expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_in_the_padding_does_not_matter(tmp_path: Path, layout: LayoutName) -> None:
    """Positions count tokens that are not the padding token; what the batch is padded with may be any."""
    session = open_graph(write_xlm_roberta(tmp_path / "model"), Plan(EmbeddingHead("mean"), layout=layout))
    feeds = pad(random_encodings(MIXED_LENGTHS), session.inputs)
    clean = session.run(feeds)

    for token in (PADDING_ID, 40):
        feeds[IDS][feeds[MASK] == 0] = token

        np.testing.assert_allclose(session.run(feeds), clean, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("write", "types", "inputs"),
    [
        (write_model, 1, {IDS, MASK}),
        (write_model, 2, {IDS, MASK, TYPES}),
        (write_roberta, 1, {IDS, MASK}),
        (write_roberta, 2, {IDS, MASK, TYPES}),
    ],
)
def test_graph_asks_for_token_types_only_if_there_are_several(
    tmp_path: Path, write: Write, types: int, inputs: set[str], layout: LayoutName
) -> None:
    """A table of one row leaves nothing to be asked, and a tensor less is made for every batch."""
    shape = Shape(type_vocab_size=types, max_position_embeddings=66)
    folder = write(tmp_path / "model", shape=shape)
    encoding = random_encodings((5,))[0]
    expected = numpy_model(folder).embed(encoding.ids)
    session = open_graph(folder, Plan(EmbeddingHead("mean"), layout=layout))

    assert session.inputs == inputs
    np.testing.assert_allclose(run(session, [encoding])[0], expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_built_files_satisfy_the_onnx_checker(tmp_path: Path, layout: LayoutName) -> None:
    """ONNX Runtime is more forgiving than other programs that read these files."""
    folder = write_xlm_roberta(tmp_path / "model", shape=ROBERTA)
    for precision in ("fp32", "fp16"):
        plan = Plan(EmbeddingHead("cls"), precision=precision, layout=layout)

        onnx.checker.check_model(str(build_graph(folder, plan)), full_check=True)
