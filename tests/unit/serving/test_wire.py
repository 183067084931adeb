from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.common.v1 import Capability, ModelInfo, Pooling, Precision
from inglenook.common.v1 import ModelState as WireState

from services.config import Capability as DomainCapability
from services.config import NliModel, RerankModel
from services.config import Pooling as DomainPooling
from services.inference.lifecycle import ModelFacts, ModelState, ModelStatus
from services.inference.lifecycle import Precision as DomainPrecision
from services.serving.wire import CAPABILITIES, POOLINGS, PRECISIONS, STATES, duration, model_info, timings
from tests.support.engine_parts import FACTS, section

STATUS = ModelStatus("tiny", section("dir:models/tiny"))
LOADED: dict[str, Any] = {"memory_bytes": 1_000_000, "load_seconds": 1.25}


@pytest.mark.parametrize(
    ("table", "domain", "wire", "prefix"),
    [
        (STATES, list(ModelState), WireState, "MODEL_STATE_"),
        (CAPABILITIES, get_args(DomainCapability), Capability, "CAPABILITY_"),
        (POOLINGS, get_args(DomainPooling), Pooling, "POOLING_"),
        (PRECISIONS, get_args(DomainPrecision), Precision, "PRECISION_"),
    ],
    ids=["states", "capabilities", "poolings", "precisions"],
)
def test_every_domain_value_has_the_wire_value_of_its_name(
    table: dict[str, int], domain: list[str], wire: Any, prefix: str
) -> None:
    """A value without one would fail ListModels for all models."""
    assert {value: wire.Name(number) for value, number in table.items()} == {
        value: prefix + value.upper() for value in domain
    }


def test_model_that_was_never_loaded_shows_what_the_configuration_says() -> None:
    """What only a load finds out is not made up."""
    assert model_info(STATUS) == ModelInfo(
        name="tiny",
        capability=Capability.CAPABILITY_EMBED,
        state=WireState.MODEL_STATE_AVAILABLE,
        source="dir:models/tiny",
    )


def test_ready_model_shows_all_its_facts() -> None:
    """Operators see from it what runs, and caches go by the fingerprint."""
    info = model_info(replace(STATUS, state=ModelState.READY, facts=FACTS, **LOADED))

    assert info.fingerprint == FACTS.fingerprint
    assert info.architecture == "bert"
    assert info.precision == Precision.PRECISION_FP32
    assert info.execution_provider == "cpu"
    assert info.max_input_tokens == 64
    assert info.dimensions == 4
    assert info.pooling == Pooling.POOLING_MEAN
    assert info.memory_bytes == 1_000_000
    assert info.load_time.ToTimedelta().total_seconds() == 1.25
    # beside the facts: name, capability, state, source, memory, load time; it has no labels
    assert len(info.ListFields()) == len(fields(FACTS)) + 6 - 1


def test_unloaded_model_keeps_its_facts_but_has_no_memory() -> None:
    """The memory has been given back; a sum over all models should say so."""
    info = model_info(replace(STATUS, state=ModelState.AVAILABLE, facts=FACTS, **LOADED))

    assert info.dimensions == 4
    assert info.memory_bytes == 0


def test_classifier_shows_its_labels_and_no_embedding() -> None:
    """Which output means what differs from model to model."""
    facts = replace(FACTS, pooling=None, dimensions=None, labels=("entailment", "neutral", "contradiction"))
    judge = NliModel(capability="nli", source="dir:somewhere")
    info = model_info(replace(STATUS, section=judge, state=ModelState.READY, facts=facts))

    assert list(info.labels) == ["entailment", "neutral", "contradiction"]
    assert not info.HasField("dimensions")
    assert info.pooling == Pooling.POOLING_UNSPECIFIED


@pytest.mark.parametrize("facts", [FACTS, replace(FACTS, pooling=None, dimensions=None, labels=("LABEL_0",))])
def test_reranker_shows_neither_labels_nor_an_embedding(facts: ModelFacts) -> None:
    """Whichever kind it is: what is inside is not what it answers with."""
    reranker = RerankModel(capability="rerank", source="dir:somewhere")
    info = model_info(replace(STATUS, section=reranker, state=ModelState.READY, facts=facts))

    assert list(info.labels) == []
    assert not info.HasField("dimensions")
    assert info.pooling == Pooling.POOLING_UNSPECIFIED


def test_loading_model_says_how_far_it_is() -> None:
    """A download of minutes looks like a hang to whoever waits for it."""
    info = model_info(replace(STATUS, state=ModelState.LOADING, detail="downloading, 43 of 91 MB"))

    assert info.state_detail == "downloading, 43 of 91 MB"


def test_failed_model_says_why() -> None:
    """`inglenook models list` shows it."""
    info = model_info(replace(STATUS, state=ModelState.FAILED, problem="model.onnx is damaged"))

    assert info.state == WireState.MODEL_STATE_FAILED
    assert info.state_detail == "model.onnx is damaged"


def test_texts_from_a_models_files_never_keep_the_list_from_being_told() -> None:
    """JSON can hold half a character, or megabytes where a word should be; other models cannot help it."""
    odd = "\ud800" + "x" * 100_000
    facts = replace(FACTS, architecture=odd, labels=(odd, "neutral"))
    nli = NliModel(capability="nli", source="dir:\ud800")

    info = model_info(replace(STATUS, section=nli, state=ModelState.FAILED, problem=odd, facts=facts))

    assert ModelInfo.FromString(info.SerializeToString()) == info
    assert info.source == "dir:?"
    texts = (info.state_detail, info.architecture, *info.labels)
    assert [len(text) for text in texts] == [1_000, 64, 128, len("neutral")]
    assert info.state_detail == "?" + "x" * 998 + "…"


def test_timings_keep_their_places() -> None:
    """Mixing two of them up would send people looking in the wrong place."""
    made = timings(total=1.0, tokenize=0.25, queue=0.5, inference=0.125)

    times = (made.total_time, made.tokenize_time, made.queue_time, made.inference_time)
    assert [one.ToTimedelta().total_seconds() for one in times] == [1.0, 0.25, 0.5, 0.125]


@given(seconds=st.floats(0, 1e6))
def test_duration_is_valid_and_exact_to_the_nanosecond(seconds: float) -> None:
    """Protobuf wants whole seconds and less than a second of nanoseconds."""
    made = duration(seconds)

    assert 0 <= made.nanos < 1_000_000_000
    assert made.seconds + made.nanos / 1e9 == pytest.approx(seconds, abs=2e-9, rel=1e-12)
