"""Whom to ask next, for one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from services.router.routing.ejection import Standing
from services.router.routing.endpoint import Endpoint, EndpointState
from services.router.routing.pool import Pool
from services.router.routing.spaces import Offer
from services.router.routing.strategy import Order


class Hope(IntEnum):
    """How likely a replica is to answer, best first."""

    PROBE = 0
    """Its ejection is over and somebody has to find out; others take the other calls."""
    CONNECTED = 1
    SERVING = 2
    """It says that it serves, but there is no connection just now."""
    UNHEARD = 3
    """Nothing is known of it, or it is just coming back."""
    EJECTED = 4
    """Better than nobody."""
    NONE = 5


WORST_OF_TURN = Hope.SERVING
"""Replicas that are worse than this are asked when no backend has a better one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica to ask.

    Attributes:
        pool: The backend that it belongs to.
        endpoint: The replica.
        content: The request, as it is asked.
    """

    pool: Pool
    endpoint: Endpoint
    content: bytes


class Choice:
    """Chooses among the replicas of the backends that may answer a call, as they are at each moment.

    Args:
        offers: The backends, in the order of the route.
        order: In which order they are asked.
    """

    def __init__(self, offers: Sequence[Offer], order: Order) -> None:
        self._offers = offers
        self._order = order
        self._turns: dict[Pool, int] = {}
        self._asked: dict[Endpoint, int] = {}
        self._refused: set[Endpoint] = set()
        self._excluded: set[Pool] = set()
        for offer in offers:
            self._turns[offer.pool] = offer.pool.turn
            offer.pool.turn += 1

    def first(self) -> Candidate | None:
        """Return the best replica that was not asked yet; None if there is none."""
        return next((one for one in self._ranked() if one.endpoint not in self._asked), None)

    def again(self) -> Candidate | None:
        """Return the replica that was asked least often, of those that may be asked again."""
        fit = [
            one for one in self._ranked() if one.endpoint in self._asked and one.endpoint not in self._refused
        ]
        return min(fit, key=lambda one: self._asked[one.endpoint], default=None)

    def asks(self, candidate: Candidate) -> None:
        """Note that a replica is asked."""
        self._asked[candidate.endpoint] = self._asked.get(candidate.endpoint, 0) + 1

    def times(self, candidate: Candidate) -> int:
        """Return how often a replica was asked."""
        return self._asked.get(candidate.endpoint, 0)

    def refuse(self, candidate: Candidate) -> None:
        """Do not ask a replica again."""
        self._refused.add(candidate.endpoint)

    def exclude(self, pool: Pool) -> None:
        """Do not ask a backend again."""
        self._excluded.add(pool)

    def despair(self) -> str:
        """Return why there is nobody to ask."""
        return "; ".join(offer.pool.despair() for offer in self._offers)

    def _ranked(self) -> Iterator[Candidate]:
        """Yield replicas, best first: what a backend has that serves, then what the next one has."""
        late: list[tuple[Hope, Candidate]] = []
        for offer in self._backends():
            ranked: list[tuple[Hope, Candidate]] = []
            for endpoint in self._order.replicas(offer.pool.endpoints, self._turns[offer.pool]):
                hope = hope_of(endpoint)
                if hope is not Hope.NONE:
                    ranked.append((hope, Candidate(offer.pool, endpoint, offer.content)))
            ranked.sort(key=lambda one: one[0])
            yield from (one for hope, one in ranked if hope <= WORST_OF_TURN)
            late += [(hope, one) for hope, one in ranked if hope > WORST_OF_TURN]
        late.sort(key=lambda one: one[0])
        yield from (one for _, one in late)

    def _backends(self) -> Iterator[Offer]:
        """Yield the backends that have the very model, then those that have one as good."""
        for instead in (False, True):
            offers = {
                offer.pool: offer
                for offer in self._offers
                if offer.instead is instead and offer.pool not in self._excluded
            }
            turn = self._turns[next(iter(offers))] if offers else 0
            yield from (offers[pool] for pool in self._order.backends(list(offers), turn))


def hope_of(endpoint: Endpoint) -> Hope:
    """Return how likely a replica is to answer now."""
    state = endpoint.told_state
    if state is EndpointState.HEALTHY:
        if endpoint.ejection.standing is Standing.HEALTHY:
            return Hope.CONNECTED if endpoint.is_connected else Hope.SERVING
        return Hope.PROBE if endpoint.ejection.wants_probe else Hope.EJECTED
    if state is EndpointState.UNKNOWN:
        return Hope.UNHEARD
    if state is EndpointState.UNREACHABLE and endpoint.is_connected:
        return Hope.UNHEARD  # the connection is back before the watch says so
    return Hope.NONE
