from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from services.inference.graph.build import Plan
from services.inference.graph.heads import ClassificationHead, EmbeddingHead
from services.inference.graph.layout import LayoutName
from services.inference.graph.lora import LoraConfig
from tests.support.graphs import numpy_model, open_graph, random_encodings, run
from tests.support.tiny import dense_layers, write_model
from tests.support.tiny_adapter import merged, write_adapter
from tests.support.tiny_roberta import write_roberta

CLOSE = 1e-5
ENCODINGS = random_encodings((12, 3, 64, 1))
PLAN = Plan(ClassificationHead(3))

Tensors = dict[str, NDArray[Any]]


def expected_logits(folder: Path, tensors: Tensors) -> NDArray[np.float64]:
    """Return what the model of a folder computes with other weights."""
    reference = replace(numpy_model(folder), tensors=tensors)
    return np.stack([reference.logits(one.ids) for one in ENCODINGS])


def change(adapter: Path, name_of: Callable[[str], str], kind: Any = np.float32) -> None:
    """Rename an adapter's tensors, and store them in another type."""
    path = adapter / "adapter_model.safetensors"
    save_file({name_of(name): one.astype(kind) for name, one in load_file(path).items()}, path)


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("write", [write_model, write_roberta])
def test_merged_graph_computes_with_the_sum_of_weights(
    tmp_path: Path, write: Callable[..., Path], layout: LayoutName
) -> None:
    """W + alpha / r · B · A for every layer that has factors, and the others as they are."""
    base = write(tmp_path / "model", labels=3)
    adapter = write_adapter(tmp_path / "adapter", base)
    session = open_graph(base, Plan(ClassificationHead(3), layout=layout), adapter)

    answers = run(session, ENCODINGS)

    np.testing.assert_allclose(answers, expected_logits(base, merged(base, adapter)), rtol=0, atol=CLOSE)
    assert np.abs(answers - run(open_graph(base, PLAN), ENCODINGS)).max() > 0.1


def test_rank_stabilized_adapter_is_scaled_by_the_root(tmp_path: Path) -> None:
    """`use_rslora` means alpha / √r."""
    base = write_model(tmp_path / "model", labels=3)
    adapter = write_adapter(tmp_path / "adapter", base, use_rslora=True)
    expected = expected_logits(base, merged(base, adapter, root=True))

    np.testing.assert_allclose(run(open_graph(base, PLAN, adapter), ENCODINGS), expected, rtol=0, atol=CLOSE)


def test_first_pattern_that_fits_a_module_says_its_rank_and_scale() -> None:
    """Keys are regular expressions for the end of a module's name, at a full stop, as in PEFT."""
    config = LoraConfig.read(
        {
            "peft_type": "LORA",
            "r": 8,
            "lora_alpha": 16,
            "rank_pattern": {"layer.[01].attention.self.query": 2, "query": 4, "lue": 5},
            "alpha_pattern": {"bert.encoder.layer.0.attention.self.query": 3},
        }
    )

    assert config.of("bert.encoder.layer.0.attention.self.query") == (2, 1.5)
    assert config.of("bert.encoder.layer.2.attention.self.query") == (4, 4.0)
    assert config.of("bert.encoder.layer.2.attention.self.value") == (8, 2.0)
    assert replace(config, root=True).of("query.value") == (8, 16 / math.sqrt(8))


@pytest.mark.parametrize(
    "key",
    [
        "bert.encoder.layer.0.attention.self.query",
        "query",
        r"layer\.\d+\.attention.*query",
        "^bert.*(key|query)$",
        "layer.[0-9]+.attention.self.query",
        "self.[^k]uery|value",
    ],
)
def test_patterns_that_people_write_are_understood(key: str) -> None:
    """Names, digits, alternatives and one thing repeated are all that published adapters have."""
    config = LoraConfig.read({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "rank_pattern": {key: 2}})

    assert config.of("bert.encoder.layer.0.attention.self.query") == (2, 8.0)
    assert config.of("bert.encoder.layer.0.attention.self.key")[0] in {8, 2 if "key" in key else 8}


def test_names_with_the_adapters_own_name_are_understood(tmp_path: Path) -> None:
    """Earlier versions of PEFT left `default` and the names of its wrappers in what they saved."""
    base = write_model(tmp_path / "model", labels=3)
    adapter = write_adapter(tmp_path / "adapter", base, saved=dense_layers({"classifier": (3, 32)}, seed=5))
    expected = expected_logits(base, merged(base, adapter))

    def wrapped(name: str) -> str:
        for factor in ("lora_A", "lora_B"):
            name = name.replace(f"{factor}.weight", f"{factor}.default.weight")
        return name.replace("classifier.", "classifier.modules_to_save.default.")

    change(adapter, wrapped)

    np.testing.assert_allclose(run(open_graph(base, PLAN, adapter), ENCODINGS), expected, rtol=0, atol=CLOSE)


def test_copies_of_what_was_there_before_training_are_passed_over(tmp_path: Path) -> None:
    """PEFT saves the untrained bias of a head beside the trained one when it saves all biases."""
    base = write_model(tmp_path / "model", labels=3)
    head = dense_layers({"classifier": (3, 32)}, seed=5)
    plain = write_adapter(tmp_path / "plain", base, saved=head)
    copies = {
        "classifier.original_module.bias": np.full(3, 9, dtype=np.float32),
        "classifier.modules_to_save.bias": head["classifier.bias"],
    }
    adapter = write_adapter(tmp_path / "adapter", base, saved=head | copies)
    expected = run(open_graph(base, PLAN, plain), ENCODINGS)

    np.testing.assert_array_equal(run(open_graph(base, PLAN, adapter), ENCODINGS), expected)


def test_adapter_in_half_precision_is_merged_in_single(tmp_path: Path) -> None:
    """A product of factors in 16 bits would be off by more than the rounding of the factors."""
    base = write_model(tmp_path / "model", labels=3)
    adapter = write_adapter(tmp_path / "adapter", base)
    change(adapter, str, np.float16)
    expected = expected_logits(base, merged(base, adapter))

    np.testing.assert_allclose(run(open_graph(base, PLAN, adapter), ENCODINGS), expected, rtol=0, atol=CLOSE)


def test_adapter_brings_a_head_to_an_encoder_that_has_none(tmp_path: Path) -> None:
    """An embedding model becomes a classifier; the two call their layers by different names."""
    classifier = write_model(tmp_path / "classifier", labels=3)
    tensors = load_file(classifier / "model.safetensors")
    adapter = write_adapter(
        tmp_path / "adapter",
        classifier,
        saved=dense_layers({"bert.pooler.dense": (32, 32), "classifier": (3, 32)}),
    )
    encoder = write_model(tmp_path / "encoder")  # of the same seed, so of the same weights
    expected = expected_logits(
        encoder, merged(classifier, adapter) | {"classifier.bias": tensors["classifier.bias"]}
    )

    answers = run(open_graph(encoder, PLAN, adapter), ENCODINGS)

    np.testing.assert_allclose(answers, expected, rtol=0, atol=CLOSE)


def test_adapters_head_takes_the_place_of_one_with_other_labels(tmp_path: Path) -> None:
    """Whoever trains three labels on a model of two saves a new head with the adapter."""
    base = write_model(tmp_path / "model", labels=2)
    adapter = write_adapter(tmp_path / "adapter", base, saved=dense_layers({"classifier": (3, 32)}, seed=5))

    answers = run(open_graph(base, PLAN, adapter), ENCODINGS)

    np.testing.assert_allclose(answers, expected_logits(base, merged(base, adapter)), rtol=0, atol=CLOSE)


def test_embedding_graph_has_no_use_for_an_adapters_head(tmp_path: Path) -> None:
    """An adapter trained with a head, or with a layer in the pooler, still changes the encoder."""
    base = write_model(tmp_path / "model", labels=3)
    head = dense_layers({"classifier": (3, 32)})
    adapter = write_adapter(tmp_path / "adapter", base, targets=("query", "pooler.dense"), saved=head)
    reference = replace(numpy_model(base), tensors=merged(base, adapter))
    expected = [reference.embed(one.ids) for one in ENCODINGS]

    answers = run(open_graph(base, Plan(EmbeddingHead("mean")), adapter), ENCODINGS)

    np.testing.assert_allclose(answers, expected, rtol=0, atol=CLOSE)
