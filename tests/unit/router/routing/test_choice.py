"""Whom a call asks next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.routing.choice import Choice, Hope, hope_of
from services.router.routing.ejection import Standing
from services.router.routing.endpoint import EndpointState
from services.router.routing.spaces import Offer
from services.router.routing.strategy import Order

HEALTHY, UNREACHABLE = EndpointState.HEALTHY, EndpointState.UNREACHABLE


@dataclass
class Past:
    """How the calls of a replica ended."""

    standing: Standing = Standing.HEALTHY
    wants_probe: bool = False


@dataclass(eq=False)
class Replica:
    """What a choice looks at."""

    name: str
    told_state: EndpointState = HEALTHY
    is_connected: bool = True
    ejection: Past = field(default_factory=Past)
    calls_in_flight: int = 0
    load: float | None = None
    median_latency: float | None = None


@dataclass(eq=False)
class Backend:
    """Replicas under one name."""

    endpoints: list[Replica]
    turn: int = 0
    cost: float = 0.0

    def despair(self) -> str:
        """Say what is wrong with it."""
        return "gone"


PROBING = Past(Standing.PROBING, wants_probe=True)
HOPES = {
    Hope.PROBE: {"ejection": PROBING},
    Hope.CONNECTED: {},
    Hope.SERVING: {"is_connected": False},
    Hope.UNHEARD: {"told_state": EndpointState.UNKNOWN},
    Hope.EJECTED: {"ejection": Past(Standing.EJECTED)},
    Hope.NONE: {"told_state": EndpointState.NOT_SERVING},
}


def replica(name: str, hope: Hope) -> Replica:
    """Return a replica of which there is so much hope."""
    return Replica(name, **cast("Any", HOPES[hope]))


def choosing(*backends: Backend) -> Choice:
    """Return the choice of a call among backends, by priority."""
    return Choice([Offer(cast("Any", backend), b"") for backend in backends], Order("priority"))


def all_of(choice: Choice) -> str:
    """Ask everybody once, and return their names in order."""
    names = ""
    while (candidate := choice.first()) is not None:
        choice.asks(candidate)
        names += cast("Any", candidate.endpoint).name
    return names


@pytest.mark.parametrize("hope", Hope)
def test_how_likely_a_replica_is_to_answer_follows_from_what_is_known(hope: Hope) -> None:
    """One way to get each of them."""
    assert hope_of(cast("Any", replica("a", hope))) is hope


def test_a_probe_under_way_and_a_connection_that_is_back_are_told_apart() -> None:
    """A second probe is not sent; a connection knows of a return before the health watch does."""
    busy = Replica("a", ejection=Past(Standing.PROBING, wants_probe=False))
    back = Replica("b", told_state=UNREACHABLE, is_connected=True)
    gone = Replica("c", told_state=UNREACHABLE, is_connected=False)
    assert [hope_of(cast("Any", one)) for one in (busy, back, gone)] == [
        Hope.EJECTED,
        Hope.UNHEARD,
        Hope.NONE,
    ]


def test_the_replicas_that_serve_come_before_the_next_backend_and_the_hopeless_last() -> None:
    """A tier is left when nobody in it serves; what is ejected is better than nobody."""
    first = Backend([replica("e", Hope.EJECTED), replica("s", Hope.SERVING), replica("c", Hope.CONNECTED)])
    second = Backend([replica("u", Hope.UNHEARD), replica("x", Hope.CONNECTED), replica("n", Hope.NONE)])
    assert all_of(choosing(first, second)) == "csxue"


def test_calls_take_turns_and_a_call_that_moves_on_does_not_take_the_turn_of_another() -> None:
    """With two replicas of which one fails every call, each of them is asked first by every second call."""
    backend = Backend([replica("a", Hope.CONNECTED), replica("b", Hope.CONNECTED)])
    assert [all_of(choosing(backend)) for _ in range(4)] == ["ab", "ba", "ab", "ba"]


def test_a_replica_is_asked_again_only_if_it_was_asked_and_not_refused() -> None:
    """The one that was asked least often goes first."""
    backend = Backend([replica(name, Hope.CONNECTED) for name in "abc"])
    choice = choosing(backend)
    assert choice.again() is None
    asked = []
    while (candidate := choice.first()) is not None:
        choice.asks(candidate)
        asked.append(candidate)
    choice.asks(asked[0])
    choice.refuse(asked[1])
    assert choice.again() == asked[2]
    choice.exclude(asked[0].pool)
    assert choice.again() is None


@given(st.lists(st.lists(st.sampled_from(Hope), max_size=4), min_size=1, max_size=3), st.integers(0, 9))
def test_everybody_who_might_answer_is_asked_exactly_once(hopes: list[list[Hope]], turn: int) -> None:
    """Whatever state anybody is in, and whoever's turn it is."""
    backends = [Backend([replica("x", hope) for hope in tier], turn) for tier in hopes]
    assert len(all_of(choosing(*backends))) == sum(hope is not Hope.NONE for tier in hopes for hope in tier)
