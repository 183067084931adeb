from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_dtypes import bfloat16
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from services.artifacts import ArtifactProblem
from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from tests.support.graphs import build_graph, numpy_model, open_graph, random_encodings, run
from tests.support.tiny import write_model

PLAN = Plan(EmbeddingHead("mean"))
QUERY = "encoder.layer.1.attention.self.query.weight"

Tensors = dict[str, NDArray[Any]]


def change_weights(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Rewrite a model's weights."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.parametrize("prefix", ["bert.", "roberta.", "model.", "0.auto_model."])
def test_names_of_tensors_may_have_a_prefix(tmp_path: Path, prefix: str) -> None:
    """Checkpoints of the same encoder differ in the attribute that held it when they were saved."""
    folder = write_model(tmp_path / "model")
    encodings = random_encodings((5, 2))
    expected = [numpy_model(folder).embed(encoding.ids) for encoding in encodings]
    change_weights(folder, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})

    np.testing.assert_allclose(run(open_graph(folder, PLAN), encodings), expected, rtol=0, atol=1e-5)


def test_tensors_that_are_not_part_of_the_encoder_are_left_out(tmp_path: Path) -> None:
    """Checkpoints carry pooler and classifier weights as well, which embeddings have no use for."""
    folder = write_model(tmp_path / "model")
    extra = np.full((1000, 1000), 3, dtype=np.float32)
    change_weights(folder, lambda tensors: {**tensors, "pooler.dense.weight": extra})

    path = build_graph(folder, PLAN)

    assert path.with_name("model.onnx.data").stat().st_size < extra.nbytes


def test_weights_in_half_precision_are_read_as_single(tmp_path: Path) -> None:
    """Many checkpoints are stored in 16 bits; the graph computes in the precision of its plan."""
    folder = write_model(tmp_path / "model")
    change_weights(folder, lambda tensors: {name: one.astype(np.float16) for name, one in tensors.items()})
    encodings = random_encodings((5, 2))
    expected = [numpy_model(folder).embed(encoding.ids) for encoding in encodings]

    np.testing.assert_allclose(run(open_graph(folder, PLAN), encodings), expected, rtol=0, atol=1e-5)


def test_weights_in_bfloat16_are_read_as_single(tmp_path: Path) -> None:
    """Numpy has no such type of its own; checkpoints trained on recent GPUs are full of it."""
    folder = write_model(tmp_path / "model")
    change_weights(folder, lambda tensors: {name: one.astype(bfloat16) for name, one in tensors.items()})
    encodings = random_encodings((5, 2))
    rounded = {name: one.astype(np.float32) for name, one in load_file(folder / "model.safetensors").items()}
    expected = [replace(numpy_model(folder), tensors=rounded).embed(one.ids) for one in encodings]

    np.testing.assert_allclose(run(open_graph(folder, PLAN), encodings), expected, rtol=0, atol=1e-5)


def test_layer_norms_may_have_the_names_of_berts_first_years(tmp_path: Path) -> None:
    """The best known checkpoint of all, bert-base-uncased, calls them gamma and beta."""
    folder = write_model(tmp_path / "model")
    encodings = random_encodings((5, 2))
    expected = [numpy_model(folder).embed(encoding.ids) for encoding in encodings]

    def former(name: str) -> str:
        if "LayerNorm" in name:
            return "bert." + name.replace("weight", "gamma").replace("bias", "beta")
        return "bert." + name

    change_weights(folder, lambda tensors: {former(name): one for name, one in tensors.items()})

    np.testing.assert_allclose(run(open_graph(folder, PLAN), encodings), expected, rtol=0, atol=1e-5)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    """Without the name nobody could tell a damaged checkpoint from another architecture."""
    folder = write_model(tmp_path / "model")
    change_weights(folder, lambda tensors: {name: one for name, one in tensors.items() if name != QUERY})

    with pytest.raises(ArtifactProblem, match=f"model.safetensors has no tensor {QUERY}"):
        build_graph(folder, PLAN)


def test_tensor_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    """Weights and config.json of different models must not make a graph that fails at the first call."""
    folder = write_model(tmp_path / "model")
    change_weights(folder, lambda tensors: {**tensors, QUERY: np.zeros((32, 31), dtype=np.float32)})

    with pytest.raises(ArtifactProblem, match=rf"{QUERY} has shape \(32, 31\), config.json says \(32, 32\)"):
        build_graph(folder, PLAN)


def test_truncated_weights_are_a_problem(tmp_path: Path) -> None:
    """An interrupted download is the most common damage."""
    folder = write_model(tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ArtifactProblem, match=r"model.safetensors is not a whole safetensors file"):
        build_graph(folder, PLAN)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"hidden_act": "silu"}, "activation silu is not known"),
        ({"position_embedding_type": "relative_key"}, "only absolute position embeddings"),
        ({"is_decoder": True}, "is_decoder is set"),
        (
            {"model_type": "gpt2"},
            r"model_type gpt2 cannot be built \(known: bert, camembert, roberta, xlm-roberta\)",
        ),
        ({"model_type": None}, "model_type None cannot be built"),
        ({"num_attention_heads": 5}, "hidden_size is not a multiple of num_attention_heads"),
        ({"num_attention_heads": 0}, "num_attention_heads is missing or not a whole number"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers is missing or not a whole number"),
        ({"intermediate_size": None}, "intermediate_size is missing or not a whole number"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is not a number"),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id is not a whole number"),
        ({"model_type": "xlm-roberta", "pad_token_id": -1}, "pad_token_id is not a whole number"),
    ],
)
def test_config_that_cannot_be_built_is_refused(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    """A variation that the builder does not know must not become a graph that computes something else."""
    folder = write_model(tmp_path / "model", **config)

    with pytest.raises(ArtifactProblem, match=f"^config.json: .*{told}"):
        build_graph(folder, PLAN)


def test_missing_number_is_named(tmp_path: Path) -> None:
    """Whoever writes a config.json by hand should be told what it lacks."""
    folder = write_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["vocab_size"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(ArtifactProblem, match=r"^config.json: vocab_size is missing"):
        build_graph(folder, PLAN)


def test_problem_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    """The next start, with whole weights, must not find half a graph."""
    folder = write_model(tmp_path / "model")
    change_weights(folder, lambda tensors: {name: one for name, one in tensors.items() if name != QUERY})

    with pytest.raises(ArtifactProblem):
        build_graph(folder, PLAN)

    assert list((tmp_path / "cache").rglob("*.onnx*")) == []
