"""From a capability to the backends that have it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from services.chassis.errors import DeadlinePassed
from services.chassis.tls import ClientFiles
from services.chassis.tracing import Tracing
from services.config import Capability, Configuration
from services.config import Route as Section
from services.router.capabilities import SERVICES
from services.router.errors import NO_ROUTE, NoBackend
from services.router.routing.agreed import Agreed
from services.router.routing.attempts import Course, Failed, Means
from services.router.routing.budget import RetryBudget
from services.router.routing.call import Answer, Ask, Metadata, Write
from services.router.routing.choice import Choice
from services.router.routing.endpoint import Endpoint, Terms
from services.router.routing.hedging import hedged
from services.router.routing.measures import MethodLatencies
from services.router.routing.observer import Observer
from services.router.routing.pool import Pool
from services.router.routing.spaces import Spaces
from services.router.routing.strategy import Order
from services.router.routing.streams import stream_attempt


class Route:
    """Where calls of one capability go.

    Attributes:
        capability: The capability.
        pools: Its backends in the order of the configuration; none when it has no route.
        calls_in_flight: Calls that have been passed on and not answered.
        agreed: The fingerprints that are known of models whose replicas are all gone.
    """

    def __init__(
        self,
        capability: Capability,
        pools: Sequence[Pool],
        means: Means | None,
        spaces: Spaces,
        agreed: Agreed,
    ) -> None:
        self.capability = capability
        self.pools = [pool.take() for pool in pools]
        self.calls_in_flight = 0
        self.means = means
        self.agreed = agreed
        self._spaces = spaces

    @property
    def strategy(self) -> str:
        """How backends are chosen; empty without a route."""
        return self.means.section.strategy if self.means is not None else ""

    @property
    def endpoints(self) -> list[Endpoint]:
        """The replicas of all backends, those of the first one first."""
        return [endpoint for pool in self.pools for endpoint in pool.endpoints]

    @property
    def healthy(self) -> int:
        """How many replicas are healthy."""
        return sum(pool.healthy for pool in self.pools)

    @property
    def available(self) -> bool:
        """Whether a call made now would find a replica that serves."""
        return any(pool.serves for pool in self.pools)

    @property
    def width(self) -> int:
        """How many replicas could share a large call now: those of the backend that would be asked."""
        return next((healthy for pool in self.pools if (healthy := pool.healthy)), 0)

    async def unary(self, ask: Ask) -> Answer:
        """Pass on a call with one response. Calls that are made together go to different replicas.

        Raises:
            NoBackend: No replica could answer.
            DeadlinePassed: The deadline passed first.
            Relayed: A replica answered with an error.
        """
        self.calls_in_flight += 1
        try:
            course = await self._begin(ask, repeatable=ask.safe)
            try:
                while True:
                    result = await hedged(course, await course.next())
                    if isinstance(result, Answer):
                        course.succeeded()
                        return result
                    course.note(result)
            finally:
                course.close()
        finally:
            self.calls_in_flight -= 1

    async def stream(self, ask: Ask, write: Write) -> Metadata:
        """Pass on a call, hand the stream of its responses to `write`, and return its trailing metadata.

        Errors are those of `unary`. After the first content was written no other replica is asked.
        """
        self.calls_in_flight += 1
        try:
            course = await self._begin(ask, repeatable=True)
            try:
                while True:
                    result = await stream_attempt(course, await course.next(), write)
                    if not isinstance(result, Failed):
                        course.succeeded()
                        return result
                    course.note(result)
            finally:
                course.close()
        finally:
            self.calls_in_flight -= 1

    async def fingerprint(self, model: str) -> str:
        """Return the fingerprint of a model, on which the healthy replicas agree of the backend that has it.

        Of several backends that have it, the first one counts. Where no replica is healthy it is what they
        last agreed on: what is kept can be told although nothing can be computed. Empty if it is not known.
        """
        last = ""
        for pool in self.pools:
            catalogs = [endpoint.catalog for endpoint in pool.endpoints if endpoint.is_healthy]
            if not catalogs:
                last = last or self.agreed.last(pool, model)
                continue
            if stale := [catalog for catalog in catalogs if not catalog.fresh]:
                await asyncio.gather(*(catalog.known() for catalog in stale))
            found = [catalog.models[model] for catalog in catalogs if model in catalog.models]
            told = {info.fingerprint for info in found if info.fingerprint}
            fresh = all(catalog.fresh for catalog in catalogs)
            agreed = told.pop() if fresh and len(told) == 1 else ""
            if fresh:
                self.agreed.note(pool, model, agreed)
            if found:
                return agreed
        return last

    async def close(self) -> None:
        """Give back the backends; those that no other configuration has are closed."""
        await asyncio.gather(*(pool.give_back() for pool in self.pools))

    async def _begin(self, ask: Ask, *, repeatable: bool) -> Course:
        if self.means is None:
            raise NoBackend(self.capability, NO_ROUTE)
        if not any(pool.endpoints for pool in self.pools):
            await self._look_up(ask.timeout_seconds)
        offers = self._spaces.offers(ask, self.pools)
        choice = Choice(offers, Order(self.means.section.strategy, self.means.chance))
        return Course(self.means, ask, choice, repeatable=repeatable)

    async def _look_up(self, seconds: float) -> None:
        """Wait until the names of all backends were looked up for the first time."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(pool.looked_up() for pool in self.pools))
        except TimeoutError:
            raise DeadlinePassed from None


def open_routes(
    configuration: Configuration,
    tracing: Tracing,
    observer: Observer,
    before: Mapping[Capability, Route],
) -> Mapping[Capability, Route]:
    """Open the pools of all routes. Must be called inside the running event loop.

    Args:
        configuration: Which routes there are.
        tracing: Traces attempts.
        observer: Is told of replicas and attempts.
        before: Routes of the configuration that was in force. What has not changed is taken over: backends
            with their connections, what is known of their replicas, and of latencies.

    Raises:
        CertificatesUnusable: The files of `backends.<name>.tls` cannot be used; nothing was opened.
    """
    for section in configuration.routes.values():
        for name in section.backends:
            if (tls := configuration.backend(name).tls) is not None:
                ClientFiles(tls)
    routes: dict[Capability, Route] = {}
    for capability in SERVICES:
        chosen = configuration.routes.get(capability)
        old = before.get(capability)
        terms = Terms(capability, configuration.channels, configuration.limits, observer.changed)
        names = chosen.backends if chosen is not None else ()
        pools = [_pool(name, configuration, terms, old, observer) for name in names]
        means = _means(capability, chosen, tracing, observer, old) if chosen is not None else None
        agreed = Agreed(configuration.models, pools, old.agreed if old is not None else None)
        spaces = Spaces(capability, configuration.models)
        routes[capability] = Route(capability, pools, means, spaces, agreed)
    return routes


def _pool(
    name: str, configuration: Configuration, terms: Terms, old: Route | None, observer: Observer
) -> Pool:
    backend = configuration.backend(name)
    kept = [pool for pool in (old.pools if old is not None else ()) if pool.is_for(name, backend, terms)]
    if kept:
        return kept[0]
    return Pool(name, backend, terms, partial(observer.ejected, terms.capability))


def _means(
    capability: Capability, section: Section, tracing: Tracing, observer: Observer, old: Route | None
) -> Means:
    known = old.means if old is not None else None
    return Means(
        capability=capability,
        section=section,
        tracing=tracing,
        observer=observer,
        budget=known.budget if known is not None else RetryBudget(),
        latencies=known.latencies if known is not None else MethodLatencies(),
    )
