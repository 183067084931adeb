"""Numbers and enums in the words of people."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Capability, ModelState, Pooling, Precision

from services.cli.capabilities import SERVICES
from services.cli.words import (
    capability_word,
    mebibytes,
    pooling_word,
    precision_word,
    seconds_of,
    span,
    state_word,
)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0042, "4.2 ms"), (1.0, "1.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (3725, "62 min 5 s")],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds: float, told: str) -> None:
    """Loads take milliseconds or minutes, and nobody wants to count digits."""
    assert span(seconds) == told


def test_enums_are_told_as_the_configuration_writes_them() -> None:
    """What is read here can be written there."""
    assert capability_word(Capability.CAPABILITY_RERANK) == "rerank"
    assert state_word(ModelState.MODEL_STATE_READY) == "ready"
    assert precision_word(Precision.PRECISION_FP32) == "fp32"
    assert pooling_word(Pooling.POOLING_LAST_TOKEN) == "last_token"


def test_what_is_not_set_has_no_word_except_for_a_state() -> None:
    """A model whose backend is gone is in a state, just in one that nobody knows."""
    assert capability_word(Capability.CAPABILITY_UNSPECIFIED) == ""
    assert precision_word(Precision.PRECISION_UNSPECIFIED) == ""
    assert state_word(ModelState.MODEL_STATE_UNSPECIFIED) == "unknown"


def test_memory_that_nobody_measured_is_not_told_as_zero() -> None:
    """0 stands for unknown in the contract."""
    assert (mebibytes(0), mebibytes(88 * 2**20)) == ("", "88 MiB")


def test_durations_become_seconds() -> None:
    """Both fields count."""
    assert seconds_of(Duration(seconds=2, nanos=500_000_000)) == 2.5


def test_every_capability_has_a_service_in_the_contract() -> None:
    """A capability that is added to the contract has to be given its service here."""
    assert {capability_word(value) for value in Capability.values()} - {""} == set(SERVICES)
    assert SERVICES["nli"] == "inglenook.nli.v1.NliService"
