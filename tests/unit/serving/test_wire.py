from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.common.v1 import Capability, ModelInfo, Pooling, Precision
from inglenook.common.v1 import ModelState as WireState

from services.config import Capability as DomainCapability
from services.inference.graph.heads import Pooling as DomainPooling
from services.inference.loading import Precision as DomainPrecision
from services.inference.registry import ModelState, ModelStatus
from services.serving.wire import CAPABILITIES, POOLINGS, PRECISIONS, STATES, duration, model_info, timings
from tests.support.engine_parts import FACTS, section

STATUS = ModelStatus("tiny", section("dir:models/tiny"))


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
    info = model_info(replace(STATUS, state=ModelState.READY, facts=FACTS))

    assert info.fingerprint == FACTS.fingerprint
    assert info.architecture == "bert"
    assert info.precision == Precision.PRECISION_FP32
    assert info.execution_provider == "cpu"
    assert info.max_input_tokens == 64
    assert info.dimensions == 4
    assert info.pooling == Pooling.POOLING_MEAN
    assert info.memory_bytes == 1_000_000
    assert info.load_time.ToTimedelta().total_seconds() == 1.25
    assert len(info.ListFields()) == len(fields(FACTS)) + 4  # name, capability, state, source


def test_unloaded_model_keeps_its_facts_but_has_no_memory() -> None:
    """The memory has been given back; a sum over all models should say so."""
    info = model_info(replace(STATUS, state=ModelState.AVAILABLE, facts=FACTS))

    assert info.dimensions == 4
    assert info.memory_bytes == 0


def test_failed_model_says_why() -> None:
    """`inglenook models list` shows it."""
    info = model_info(replace(STATUS, state=ModelState.FAILED, problem="model.onnx is damaged"))

    assert info.state == WireState.MODEL_STATE_FAILED
    assert info.state_detail == "model.onnx is damaged"


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
