from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from services.artifacts import ArtifactProblem
from services.inference.graph.build import Plan
from services.inference.graph.heads import ClassificationHead, EmbeddingHead
from tests.support.graphs import build_graph
from tests.support.tiny import Shape, dense_layers, write_model
from tests.support.tiny_adapter import write_adapter
from tests.support.tiny_roberta import write_roberta

PLAN = Plan(ClassificationHead(3))
QUERY = "base_model.model.bert.encoder.layer.1.attention.self.query"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return the folder of a BERT with three labels."""
    return write_model(tmp_path / "model", labels=3)


def refused(base: Path, adapter: Path, told: str, plan: Plan = PLAN) -> None:
    """Expect that an adapter is refused with these words, and that nothing of it is kept."""
    with pytest.raises(ArtifactProblem, match=re.escape(told)):
        build_graph(base, plan, adapter)
    assert list(base.parent.rglob("*.onnx*")) == []


def replace_tensors(adapter: Path, tensors: dict[str, NDArray[Any] | None]) -> None:
    """Change tensors of an adapter; None takes one away."""
    path = adapter / "adapter_model.safetensors"
    changed = load_file(path) | tensors
    save_file({name: one for name, one in changed.items() if one is not None}, path)


def test_adapter_of_a_wider_model_is_refused_with_both_shapes(tmp_path: Path, base: Path) -> None:
    """The most common mistake: the right kind of adapter over a model of another size."""
    other = write_model(tmp_path / "other", shape=Shape(hidden_size=40), labels=3)
    adapter = write_adapter(tmp_path / "adapter", other, targets=("query",))

    refused(
        base,
        adapter,
        "adapter_model.safetensors: tensor base_model.model.bert.encoder.layer.0.attention.self.query."
        "lora_A.weight has shape (2, 40) where the model has room for (2, 32); the adapter is for other "
        "weights",
    )


def test_adapter_of_a_deeper_model_is_refused(tmp_path: Path, base: Path) -> None:
    """A layer that does not exist would otherwise be left out, and the answers would be wrong in silence."""
    deeper = write_model(tmp_path / "deeper", shape=Shape(num_hidden_layers=3), labels=3)
    adapter = write_adapter(tmp_path / "adapter", deeper, targets=("query",))

    refused(
        base,
        adapter,
        "adapter_model.safetensors: tensor base_model.model.bert.encoder.layer.2.attention.self.query."
        "lora_A.weight of shape (2, 32) fits nothing in the model; the adapter is for other weights",
    )


def test_adapter_of_another_rank_than_its_config_says_is_refused(tmp_path: Path, base: Path) -> None:
    """The scale depends on the rank, so that a wrong one cannot be taken from the file's shapes."""
    adapter = write_adapter(tmp_path / "adapter", base, r=4)

    refused(base, adapter, "has shape (2, 32) where the model has room for (4, 32)")


@pytest.mark.parametrize("name", ["lora_magnitude_vector.default.weight", "lora_C.weight", "unheard_of"])
def test_tensor_that_nobody_uses_is_refused(tmp_path: Path, base: Path, name: str) -> None:
    """What the builder does not know changes the numbers in a way that it does not know either."""
    adapter = write_adapter(tmp_path / "adapter", base)
    replace_tensors(adapter, {f"{QUERY}.{name}": np.zeros((2, 2), dtype=np.float32)})

    refused(base, adapter, f"tensor {QUERY}.{name} of shape (2, 2) fits nothing in the model")


def test_factors_of_a_layer_norm_are_refused(tmp_path: Path, base: Path) -> None:
    """Only matrices have factors."""
    adapter = write_adapter(tmp_path / "adapter", base)
    norm = "base_model.model.bert.embeddings.LayerNorm.lora_A.weight"
    replace_tensors(adapter, {norm: np.zeros((2, 32), dtype=np.float32)})

    refused(base, adapter, f"tensor {norm} of shape (2, 32) fits nothing in the model")


def test_adapter_without_tensors_is_refused(tmp_path: Path, base: Path) -> None:
    """Such a file is left by training jobs whose weights were spread over several devices."""
    adapter = write_adapter(tmp_path / "adapter", base, targets=())

    refused(base, adapter, "adapter_model.safetensors holds no tensors; the adapter would change nothing")


@pytest.mark.parametrize("gone", ["lora_A", "lora_B"])
def test_half_of_a_pair_is_refused(tmp_path: Path, base: Path, gone: str) -> None:
    """One factor without the other says nothing."""
    adapter = write_adapter(tmp_path / "adapter", base)
    replace_tensors(adapter, {f"{QUERY}.{gone}.weight": None})

    refused(
        base, adapter, f"encoder.layer.1.attention.self.query has no {gone}.weight; the file is not whole"
    )


def test_head_of_another_number_of_labels_is_refused(tmp_path: Path, base: Path) -> None:
    """The labels come from a config.json that is not this head's."""
    adapter = write_adapter(tmp_path / "adapter", base, saved=dense_layers({"classifier": (2, 32)}))

    refused(
        base,
        adapter,
        "tensor base_model.model.classifier.weight has shape (2, 32) where the model has room for (3, 32)",
    )


def test_head_of_another_family_is_refused(tmp_path: Path) -> None:
    """A head that is not read would leave the model with the one that it had before."""
    base = write_roberta(tmp_path / "model", labels=3)
    adapter = write_adapter(tmp_path / "adapter", base, saved=dense_layers({"score": (3, 32)}))

    refused(base, adapter, "tensor base_model.model.score.bias of shape (3,) fits nothing in the model")


def test_adapter_without_a_head_over_weights_without_one_is_refused(tmp_path: Path) -> None:
    """There is nothing to classify with, and the message says what would help."""
    base = write_model(tmp_path / "model")

    refused(base, write_adapter(tmp_path / "adapter", base), "name an adapter that brings a head")


@pytest.mark.parametrize("kept_bytes", [0, 5, 100, -100])
def test_corrupt_adapter_is_refused(tmp_path: Path, base: Path, kept_bytes: int) -> None:
    """An interrupted download is the most common damage, and it is found whatever is missing."""
    adapter = write_adapter(tmp_path / "adapter", base)
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])

    refused(base, adapter, "adapter_model.safetensors is not a whole safetensors file")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"peft_type": "IA3"}, "peft_type IA3 is not known, only LORA; merge it with PEFT"),
        ({"peft_type": None}, "peft_type None is not known"),
        ({"use_dora": True}, "use_dora is set, which cannot be merged here; merge it with PEFT"),
        ({"use_qalora": True}, "use_qalora is set"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is set"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is set"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices is set"),
        ({"target_parameters": ["query.weight"]}, "target_parameters is set"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa changes the model's own weights"),
        ({"init_lora_weights": {}}, "init_lora_weights {} changes"),
        ({"r": 0}, "r is missing or not a whole number of 1 or more"),
        ({"r": True}, "r is missing or not a whole number of 1 or more"),
        ({"lora_alpha": "16"}, "lora_alpha is missing or not a number"),
        ({"rank_pattern": {"query": 1.5}}, "rank_pattern is missing or not a whole number"),
        ({"alpha_pattern": {"query": None}}, "alpha_pattern is missing or not a number"),
        ({"alpha_pattern": [1]}, "alpha_pattern is not an object"),
        ({"rank_pattern": {"(": 1}}, "a key of a pattern is not a regular expression"),
    ],
)
def test_config_that_cannot_be_merged_is_refused(
    tmp_path: Path, base: Path, config: dict[str, Any], told: str
) -> None:
    """A variation that the builder does not know must not be merged as if it were plain LoRA."""
    refused(base, write_adapter(tmp_path / "adapter", base, **config), f"adapter_config.json: {told}")


@pytest.mark.parametrize(
    "key",
    [
        "(a+)+b",
        "(.*)*",
        "(a|a)(a|a)(a|a)(a|a)",
        ".*.*.*.*x",
        "a**",
        "a{1,9}",
        "(?=a)",
        r"(.)\1",
        "query or value",
        "a" * 201,
    ],
)
def test_pattern_that_could_take_for_ever_is_refused(tmp_path: Path, base: Path, key: str) -> None:
    """A file that somebody else has written must not keep the service busy: some of these take years."""
    adapter = write_adapter(tmp_path / "adapter", base, rank_pattern={key: 2})

    refused(base, adapter, "adapter_config.json: a key of rank_pattern is not the name of a module")


def test_only_so_many_patterns_are_matched(tmp_path: Path, base: Path) -> None:
    """Of names there may be one for each module."""
    patterns = {f"layer.{index}.*": 2 for index in range(33)}
    adapter = write_adapter(tmp_path / "adapter", base, rank_pattern=patterns)

    refused(base, adapter, "adapter_config.json: rank_pattern has more than 32 patterns; merge it with PEFT")


def test_embedding_graph_refuses_an_adapter_for_another_encoder(tmp_path: Path, base: Path) -> None:
    """Passing heads over does not mean to pass over what belongs to the encoder."""
    deeper = write_model(tmp_path / "deeper", shape=Shape(num_hidden_layers=3), labels=3)
    adapter = write_adapter(tmp_path / "adapter", deeper, targets=("pooler.dense", "value"))

    refused(base, adapter, "layer.2.attention.self.value.lora_A.weight", Plan(EmbeddingHead("mean")))
