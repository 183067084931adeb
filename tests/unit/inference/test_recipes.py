"""What is particular about loading rerankers and NLI models, and what is refused before a caller meets it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from services.artifacts import ArtifactProblem
from services.config import Limits, NliModel, RerankModel
from services.inference.lifecycle import ModelFacts
from services.inference.loading import ModelLoader, nli_recipe, reranking_recipe
from services.inference.models.bi_encoder import BiEncoder
from services.inference.models.cross_encoder import CrossEncoder
from tests.support.engine_parts import ignore, workshop
from tests.support.onnx_files import write_onnx
from tests.support.tiny import Shape, dense_layers, write_model, write_tokenizer
from tests.support.tiny_adapter import write_adapter

NLI: dict[str, Any] = {"id2label": {"0": "contradiction", "1": "entailment", "2": "neutral"}}
RECIPES: dict[type, Any] = {NliModel: nli_recipe, RerankModel: reranking_recipe}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that has been closed again, and what was found out."""

    model: Any
    facts: ModelFacts
    weight_bytes: int


async def load(base: Path, section: NliModel | RerankModel, limits: Limits | None = None) -> Loaded:
    """Load a model as its service does, and give it back."""
    loader: ModelLoader[Any, Any] = ModelLoader(
        workshop(base, limits=limits), RECIPES[type(section)], lambda _: ignore
    )
    prepared = await loader.prepare("tiny", section, lambda _: None)
    model = await prepared.open()
    await model.close()
    return Loaded(model, prepared.facts, prepared.weight_bytes)


def rerank(folder: Path, **settings: Any) -> RerankModel:
    """Return a reranker's section."""
    return RerankModel(capability="rerank", source=f"dir:{folder}", **settings)


def nli(folder: Path, **settings: Any) -> NliModel:
    """Return an NLI model's section."""
    return NliModel(capability="nli", source=f"dir:{folder}", **settings)


@pytest.mark.parametrize("labels", [1, 2])
async def test_head_of_one_or_two_outputs_makes_a_cross_encoder(tmp_path: Path, labels: int) -> None:
    """Both kinds are common, and neither has a pooling or dimensions to tell."""
    loaded = await load(tmp_path, rerank(write_model(tmp_path / "model", labels=labels)))

    assert isinstance(loaded.model, CrossEncoder)
    assert (loaded.facts.pooling, loaded.facts.dimensions) == (None, None)
    assert loaded.facts.labels == tuple(f"LABEL_{index}" for index in range(labels))
    assert loaded.weight_bytes > (tmp_path / "model" / "model.safetensors").stat().st_size


async def test_embedding_model_makes_a_bi_encoder(tmp_path: Path) -> None:
    """Where no cross-encoder is at hand; it has an embedding's facts."""
    loaded = await load(tmp_path, rerank(write_model(tmp_path / "model"), kind="bi-encoder"))

    assert isinstance(loaded.model, BiEncoder)
    assert (loaded.facts.pooling, loaded.facts.dimensions, loaded.facts.labels) == ("mean", 32, ())


async def test_embedding_model_is_no_cross_encoder(tmp_path: Path) -> None:
    """Its scores would be noise; the message says what to write instead."""
    with pytest.raises(ArtifactProblem, match=r"no classification head.*bi-encoder"):
        await load(tmp_path, rerank(write_model(tmp_path / "model")))


async def test_nli_model_is_no_reranker(tmp_path: Path) -> None:
    """Three outputs have no single meaning as relevance."""
    folder = write_model(tmp_path / "model", labels=3)

    with pytest.raises(ArtifactProblem, match="the model has 3 outputs, and rerankers have one or two"):
        await load(tmp_path, rerank(folder))


async def test_labels_come_from_the_model_and_the_configuration_goes_before(tmp_path: Path) -> None:
    """What each output means differs from model to model, and some models do not say."""
    named = await load(tmp_path, nli(write_model(tmp_path / "named", labels=3, **NLI)))
    silent = nli(
        write_model(tmp_path / "silent", labels=3), labels=("neutral", "contradiction", "entailment")
    )

    assert named.facts.labels == ("contradiction", "entailment", "neutral")
    assert (await load(tmp_path, silent)).facts.labels == ("neutral", "contradiction", "entailment")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "LABEL_0"),
        (
            {"id2label": {"0": "entailment", "2": "neutral", "3": "contradiction"}},
            "does not number",
        ),
        ({"id2label": {"zero": "entailment"}}, "keys of id2label are not numbers"),
    ],
)
async def test_labels_that_mean_nothing_are_refused(
    tmp_path: Path, config: dict[str, Any], problem: str
) -> None:
    """A guess would swap entailment and contradiction in half of the cases."""
    with pytest.raises(ArtifactProblem, match=problem):
        await load(tmp_path, nli(write_model(tmp_path / "model", labels=3, **config)))


async def test_ready_made_graph_must_have_as_many_outputs_as_labels(tmp_path: Path) -> None:
    """Nothing else says what a file without a config.json computes."""
    folder = tmp_path / "model"
    write_onnx(folder / "model.onnx", outputs=("sentence_embedding",))
    write_tokenizer(folder / "tokenizer.json")
    section = nli(folder, labels=("entailment", "neutral", "contradiction"), max_input_tokens=40)

    with pytest.raises(ArtifactProblem, match="the model has 6 outputs, but 3 labels"):
        await load(tmp_path, section)


async def test_adapter_brings_head_and_labels_to_an_encoder(tmp_path: Path) -> None:
    """A sentence encoder becomes an NLI model, and each adapter is a model of its own to caches."""
    base = write_model(tmp_path / "model")
    width = Shape().hidden_size
    sections = []
    for seed in (1, 2):
        head = dense_layers({"bert.pooler.dense": (width, width), "classifier": (3, width)}, seed)
        folder = write_adapter(tmp_path / f"adapter{seed}", base, saved=head)
        (folder / "config.json").write_text(json.dumps(NLI), encoding="utf-8")
        sections.append(nli(base, adapter=f"dir:{folder}"))

    one, other = [await load(tmp_path, section) for section in sections]

    assert one.facts.labels == ("contradiction", "entailment", "neutral")
    assert one.facts.fingerprint != other.facts.fingerprint


async def test_adapter_for_other_weights_is_refused(tmp_path: Path) -> None:
    """Half of it would fit, and the answers would look fine."""
    other = write_model(tmp_path / "other", shape=Shape(hidden_size=48))
    adapter = write_adapter(tmp_path / "adapter", other)
    base = write_model(tmp_path / "model", labels=3, **NLI)

    with pytest.raises(ArtifactProblem, match=r"adapter_model\.safetensors"):
        await load(tmp_path, nli(base, adapter=f"dir:{adapter}"))


async def test_tokenizer_for_single_texts_makes_an_embedding_model_only(tmp_path: Path) -> None:
    """A cross-encoder would read pairs that it was never trained on."""
    folders = {kind: tmp_path / kind for kind in ("bi-encoder", "cross-encoder")}
    for kind, folder in folders.items():
        write_model(folder, labels=1 if kind == "cross-encoder" else None)
        library = write_tokenizer(folder / "tokenizer.json")
        library.post_processor = processors.TemplateProcessing(
            single="$A [SEP]", pair="$B [SEP] $A", special_tokens=[("[SEP]", 3)]
        )
        library.save(str(folder / "tokenizer.json"))

    loaded = await load(tmp_path, rerank(folders["bi-encoder"], kind="bi-encoder"))

    assert isinstance(loaded.model, BiEncoder)
    with pytest.raises(ArtifactProblem, match="cannot be used for pairs of texts"):
        await load(tmp_path, rerank(folders["cross-encoder"]))


async def test_queue_without_room_for_a_search_is_refused(tmp_path: Path) -> None:
    """Every call would be told to come back later, for ever."""
    section = rerank(write_model(tmp_path / "model"), kind="bi-encoder")

    with pytest.raises(ArtifactProblem, match=r"limits\.max_queue_size is 1, and a bi-encoder needs 2"):
        await load(tmp_path, section, Limits(max_queue_size=1, max_client_batch_size=1))
    assert isinstance(
        (await load(tmp_path, section, Limits(max_queue_size=2, max_client_batch_size=2))).model, BiEncoder
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", 8),
        ("hidden_act", "relu"),
        ("layer_norm_eps", 1e-5),
        ("num_hidden_layers", 1),
        ("model_type", "roberta"),
    ],
)
async def test_adapter_whose_config_is_another_models_is_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    """Much of it does not show in the shapes of weights: the answers would be wrong in silence."""
    base = write_model(tmp_path / "model", labels=3, **NLI)
    adapter = write_adapter(tmp_path / "adapter", base)
    (adapter / "config.json").write_text(json.dumps({key: value}), encoding="utf-8")

    with pytest.raises(
        ArtifactProblem, match=f"the adapter's config.json says {key} {value}, the model's .* other weights"
    ):
        await load(tmp_path, nli(base, adapter=f"dir:{adapter}"))


async def test_adapter_brings_no_other_settings_than_those_of_its_head(tmp_path: Path) -> None:
    """Which token is padding, and what else such a file says, belongs to the model."""
    base = write_model(tmp_path / "model", labels=3, **NLI)
    adapter = write_adapter(tmp_path / "adapter", base)
    names = {"id2label": {"0": "neutral", "1": "entailment", "2": "contradiction"}}
    more = {"position_embedding_type": "relative_key", "is_decoder": True, "hidden_size": 32}
    (adapter / "config.json").write_text(json.dumps(names | more), encoding="utf-8")

    loaded = await load(tmp_path, nli(base, adapter=f"dir:{adapter}"))

    assert loaded.facts.labels == ("neutral", "entailment", "contradiction")
