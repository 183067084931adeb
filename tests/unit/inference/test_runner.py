from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.inference.encoding import Encoding
from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from services.inference.runner import SessionRunner, open_runner
from services.inference.session import SessionSettings
from tests.support.graphs import build_graph, numpy_model, random_encodings
from tests.support.onnx_files import POISON, write_onnx
from tests.support.tiny import write_model


@pytest.fixture
def runner(tmp_path: Path) -> SessionRunner:
    """A runner with two threads over a built graph."""
    graph = build_graph(write_model(tmp_path / "model"), Plan(EmbeddingHead("mean")))
    return open_runner(graph, SessionSettings(), 2, "mean")


def test_wide_and_narrow_agree_with_the_reference(tmp_path: Path, runner: SessionRunner) -> None:
    """Which way a text is run depends on load, so its embedding must not depend on the way."""
    encodings = random_encodings((1, 40, 7))
    expected = [numpy_model(tmp_path / "model").embed(encoding.ids) for encoding in encodings]

    for wide in (False, True):
        np.testing.assert_allclose(runner.run(encodings, wide=wide), expected, rtol=0, atol=1e-5)


def test_there_are_as_many_lanes_as_threads(runner: SessionRunner) -> None:
    """One lane per thread, and one session with all of them for an idle engine."""
    assert runner.lanes == 2
    assert runner.has_wide


def test_one_thread_has_one_lane_and_no_wide_way(tmp_path: Path) -> None:
    """A second session would be the same again, and cost its memory."""
    runner = open_runner(write_onnx(tmp_path / "model.onnx"), SessionSettings(), 1, "mean")

    assert runner.lanes == 1
    assert not runner.has_wide
    np.testing.assert_array_equal(
        runner.run([Encoding([4, 5])], wide=True), runner.run([Encoding([4, 5])], wide=False)
    )


@pytest.mark.parametrize("output", ["last_hidden_state", "sentence_embedding"])
def test_output_that_is_not_finite_raises(tmp_path: Path, output: str) -> None:
    """Half precision overflows to what is not a number; nobody must store that in an index."""
    runner = open_runner(write_onnx(tmp_path / "model.onnx", outputs=(output,)), SessionSettings(), 1, "mean")

    with pytest.raises(ArithmeticError, match="not finite"):
        runner.run([Encoding([4, 5]), Encoding([6, POISON])], wide=False)


def test_input_outside_of_the_vocabulary_raises(runner: SessionRunner) -> None:
    """A tokenizer of another model has ids that the weights have no row for."""
    with pytest.raises(Exception, match="out of data bounds"):
        runner.run([Encoding([10_000])], wide=False)
