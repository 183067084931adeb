from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from services.artifacts import ArtifactProblem
from services.inference.encoding import Encoding
from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from services.inference.padding import IDS, MASK, POSITIONS, TYPES, pad
from services.inference.session import ExecutionProvider, Session, SessionSettings, version
from tests.support.graphs import open_graph, random_encodings, run
from tests.support.onnx_files import WIDTH, token_vectors, write_onnx
from tests.support.tiny import write_model

PAIR = Encoding([4, 5, 6, 7], [0, 0, 1, 1])


@pytest.mark.parametrize(
    "inputs", [(IDS, MASK), (IDS, MASK, TYPES), (IDS, MASK, POSITIONS), (IDS, MASK, TYPES, POSITIONS)]
)
def test_graph_is_asked_for_its_inputs(tmp_path: Path, inputs: Sequence[str]) -> None:
    """Exports differ; a model that has no token types must not be given any, one that has must."""
    session = Session(write_onnx(tmp_path / "model.onnx", inputs=inputs), SessionSettings())

    assert session.inputs == set(inputs)
    np.testing.assert_allclose(run(session, [PAIR])[0], token_vectors(PAIR, inputs), atol=1e-6)


def test_unknown_input_is_refused(tmp_path: Path) -> None:
    """A tensor that nobody knows how to fill would fail at the first call instead."""
    path = write_onnx(tmp_path / "model.onnx", inputs=(IDS, MASK, "pixel_values", "bbox"))

    with pytest.raises(ArtifactProblem, match=r"model.onnx asks for inputs .* not known: bbox, pixel_values"):
        Session(path, SessionSettings())


@pytest.mark.parametrize("inputs", [(IDS,), (IDS, TYPES)])
def test_graph_without_a_mask_is_refused(tmp_path: Path, inputs: Sequence[str]) -> None:
    """It could not tell padding from text, and a text's answer would depend on its batch."""
    path = write_onnx(tmp_path / "model.onnx", inputs=inputs)

    with pytest.raises(ArtifactProblem, match="must have the inputs input_ids and attention_mask"):
        Session(path, SessionSettings())


@pytest.mark.parametrize("name", ["last_hidden_state", "token_embeddings", "hidden"])
@pytest.mark.parametrize("pooled_first", [False, True])
def test_token_vectors_are_preferred_over_pooled_outputs(
    tmp_path: Path, name: str, pooled_first: bool
) -> None:
    """`pooler_output` is not the model's embedding, and only token vectors can be pooled as configured."""
    outputs = ("pooler_output", name) if pooled_first else (name, "pooler_output")
    session = Session(write_onnx(tmp_path / "model.onnx", outputs=outputs), SessionSettings())

    assert not session.pooled
    assert run(session, [PAIR]).shape == (1, 4, WIDTH)


def test_last_hidden_state_is_preferred_over_other_token_vectors(tmp_path: Path) -> None:
    """Exports with all layers' states put the others first."""
    path = write_onnx(tmp_path / "model.onnx", outputs=("hidden", "last_hidden_state"))

    assert Session(path, SessionSettings())._output == "last_hidden_state"


def test_pooled_output_is_used_where_there_are_no_token_vectors(tmp_path: Path) -> None:
    """Sentence embedding exports pool inside; nothing is pooled a second time."""
    path = write_onnx(tmp_path / "model.onnx", outputs=("sentence_embedding",))
    encodings = random_encodings((3, 1, 8))

    session = Session(path, SessionSettings())

    assert session.pooled
    expected = [token_vectors(encoding).mean(axis=0) for encoding in encodings]
    np.testing.assert_allclose(run(session, encodings), expected, atol=1e-6)


def test_graph_without_a_usable_output_is_refused(tmp_path: Path) -> None:
    """One number per text is no embedding."""
    path = write_onnx(tmp_path / "model.onnx", outputs=("score",))

    with pytest.raises(ArtifactProblem, match="has no output of token vectors or embeddings"):
        Session(path, SessionSettings())


@pytest.mark.parametrize("content", [b"", b"not a graph", None])
def test_corrupt_file_is_a_problem_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    """None stands for a file whose end is missing."""
    path = write_onnx(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)

    with pytest.raises(ArtifactProblem, match=r"^model.onnx cannot be loaded by ONNX Runtime: "):
        Session(path, SessionSettings())


@pytest.mark.parametrize("provider", ["cuda", "openvino"])
def test_execution_provider_that_is_not_installed_names_the_extra(
    tmp_path: Path, provider: ExecutionProvider
) -> None:
    """ONNX Runtime itself would warn and quietly compute on the CPU."""
    path = write_onnx(tmp_path / "model.onnx")

    with pytest.raises(ArtifactProblem, match=rf"install inglenook\[engine-{provider}\]"):
        Session(path, SessionSettings(execution_provider=provider))


@pytest.mark.parametrize("outputs", [("pooler_output", "last_hidden_state"), ("sentence_embedding",)])
@pytest.mark.parametrize("reverse", [False, True])
def test_io_binding_gives_the_same_numbers(tmp_path: Path, outputs: Sequence[str], reverse: bool) -> None:
    """The way of GPUs differs from the CPU's only in where tensors lie; here both lie on the CPU."""
    outputs = outputs[::-1] if reverse else outputs
    session = Session(write_onnx(tmp_path / "model.onnx", outputs=outputs), SessionSettings())
    feeds = pad(random_encodings((3, 9, 1)), session.inputs)

    np.testing.assert_array_equal(session._run_bound(feeds, "cpu", 0), session.run(feeds))


def test_io_binding_serves_batches_of_changing_shape(tmp_path: Path) -> None:
    """The output is allocated anew for each batch: nothing of an earlier, larger one is left in it."""
    session = open_graph(write_model(tmp_path / "model"), Plan(EmbeddingHead("mean"), layout="padded"))

    for lengths in ((20, 3), (1,), (5, 5, 64)):
        feeds = pad(random_encodings(lengths), session.inputs)
        np.testing.assert_array_equal(session._run_bound(feeds, "cpu", 0), session.run(feeds))


def test_threads_may_share_a_session(tmp_path: Path) -> None:
    """Lanes have one copy of the weights between them; their runs must not mix."""
    session = open_graph(write_model(tmp_path / "model"), Plan(EmbeddingHead("mean")))
    batches = [random_encodings((1 + seed % 30, 5), seed=seed) for seed in range(40)]
    expected = [run(session, batch) for batch in batches]

    with ThreadPoolExecutor(4) as threads:
        computed = list(threads.map(lambda batch: run(session, batch), batches))

    for one, other in zip(computed, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_version_is_the_librarys() -> None:
    """Calibrations are remembered by it."""
    assert version().count(".") >= 2
