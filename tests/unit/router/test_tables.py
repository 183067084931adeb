"""Tables between domain and wire: a value that one of them forgets would fail calls."""

from __future__ import annotations

from typing import get_args

from inglenook.common.v1 import Capability as WireCapability
from inglenook.common.v1 import ModelInfo, ModelState

from services.config import Capability
from services.router.capabilities import SERVICES, WIRE
from services.router.errors import NoBackend, UnknownModel
from services.router.routing.endpoint import EndpointState
from services.router.servicer.replicas import STATE_ORDER, _most_ready
from services.router.servicer.status import STATES


def test_every_capability_has_a_service_and_a_number() -> None:
    """In the same order, in which operators see them."""
    assert list(WIRE) == list(SERVICES) == list(get_args(Capability))
    assert {WireCapability.CAPABILITY_UNSPECIFIED, *WIRE.values()} == set(WireCapability.values())


def test_every_state_of_an_endpoint_has_its_own_number() -> None:
    """No two states look the same to an operator."""
    assert set(STATES) == set(EndpointState)
    assert len(set(STATES.values())) == len(STATES)


def test_every_state_of_a_model_has_a_rank() -> None:
    """Replicas may be in any state when they are asked."""
    assert sorted(STATE_ORDER) == sorted(ModelState.values())


def test_a_model_is_as_ready_as_its_readiest_replica() -> None:
    """One replica that answers is enough; one that failed hides behind it, but not behind an idle one."""
    failed, idle, ready = (
        ModelInfo(name="m", state=state)
        for state in (
            ModelState.MODEL_STATE_FAILED,
            ModelState.MODEL_STATE_AVAILABLE,
            ModelState.MODEL_STATE_READY,
        )
    )
    assert _most_ready([failed, ready, idle]) is ready
    assert _most_ready([idle, failed]) is failed


def test_errors_of_the_router_name_what_exists() -> None:
    """Names for people in the message, for programs in the metadata; also when there are none."""
    assert str(UnknownModel(["a", "b"])).endswith("models here: a, b")
    assert UnknownModel(["a", "b"]).metadata == {"models": "a,b"}
    assert str(UnknownModel([])).endswith("models here: none")
    assert str(NoBackend("nli", "all gone")) == "no backend for nli: all gone"
