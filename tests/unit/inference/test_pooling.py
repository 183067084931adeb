from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.config import Pooling
from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from services.inference.pooling import Vectors, finish, pool
from services.inference.runner import open_runner
from services.inference.session import SessionSettings
from tests.support.graphs import numpy_model, open_graph, random_encodings, run
from tests.support.onnx_files import token_vectors, write_onnx
from tests.support.tiny import write_model

POOLINGS: list[Pooling] = ["cls", "mean", "last_token"]
LENGTHS = (1, 7, 30, 2, 1)

numbers = st.floats(-100, 100, width=32).filter(lambda number: number == 0 or abs(number) > 1e-3)
embeddings = arrays(np.float32, st.integers(1, 40), elements=numbers)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_outside_equals_the_heads_inside_graphs(tmp_path: Path, pooling: Pooling) -> None:
    """A model must give the same embeddings as a checkpoint and as a ready-made file of token vectors."""
    folder = write_model(tmp_path / "model")
    encodings = random_encodings(LENGTHS)
    reference = numpy_model(folder)
    hidden = np.full((len(LENGTHS), max(LENGTHS), 32), 1e6, dtype=np.float32)  # padding: absurd on purpose
    for row, encoding in enumerate(encodings):
        hidden[row, : len(encoding)] = reference.hidden(encoding.ids)

    inside = run(open_graph(folder, Plan(EmbeddingHead(pooling))), encodings)

    np.testing.assert_allclose(pool(hidden, encodings, pooling), inside, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_token_vectors_of_a_ready_made_file_are_pooled_as_asked(tmp_path: Path, pooling: Pooling) -> None:
    """The graph says nothing of pooling then; the configuration decides."""
    encodings = random_encodings(LENGTHS)
    runner = open_runner(write_onnx(tmp_path / "model.onnx"), SessionSettings(), 1, pooling)
    expected = []
    for encoding in encodings:
        rows = token_vectors(encoding)
        expected.append({"cls": rows[0], "mean": rows.mean(axis=0), "last_token": rows[-1]}[pooling])

    np.testing.assert_allclose(runner.run(encodings, wide=False), expected, rtol=0, atol=1e-6)


@given(embedding=embeddings, dimensions=st.integers(1, 40))
def test_embedding_is_cut_first_and_scaled_then(embedding: Vectors, dimensions: int) -> None:
    """A shortened embedding has length 1 as well; scaling first would leave it shorter."""
    kept = embedding[:dimensions].astype(np.float64)
    length = np.linalg.norm(kept)

    finished = finish(embedding, dimensions=dimensions, normalize=True)

    assert finished.dtype == np.float32
    np.testing.assert_allclose(finished, kept / length if length else kept, rtol=0, atol=1e-6)
    assert np.linalg.norm(finished) == pytest.approx(1.0 if length else 0.0, abs=1e-6)


@given(embedding=embeddings)
def test_no_dimensions_keeps_all(embedding: Vectors) -> None:
    """Unset is not zero."""
    np.testing.assert_array_equal(finish(embedding, dimensions=None, normalize=False), embedding)


@given(embedding=embeddings, dimensions=st.integers(1, 40))
def test_embedding_that_is_not_normalized_is_only_cut(embedding: Vectors, dimensions: int) -> None:
    """Callers that want lengths get the model's own numbers."""
    np.testing.assert_array_equal(
        finish(embedding, dimensions=dimensions, normalize=False), embedding[:dimensions]
    )


@pytest.mark.parametrize("dimensions", [None, 3])
def test_zero_vector_stays_zero(dimensions: int | None) -> None:
    """Dividing by its length would give what is not a number."""
    embedding = np.array([0, 0, 0, 5] if dimensions else [0, 0, 0, 0], dtype=np.float32)

    assert not finish(embedding, dimensions=dimensions, normalize=True).any()
