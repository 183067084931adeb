"""The replicas of one backend, as its name stands for them now."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from services.chassis.tasks import end
from services.chassis.tls import ClientFiles, Secured
from services.config import Backend, is_literal, join_address, split_address
from services.router.routing.endpoint import Endpoint, EndpointState, EndpointStatus, Terms

LOOKUP_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 30.0
"""How long calls may take to end that are on a connection which is given up."""

log: Final = logging.getLogger(__name__)


class Pool:
    """The replicas of one backend. Belongs to the event loop that it is made in.

    A pool may serve several configurations, one after the other: whoever takes it says so (`take`), and it is
    closed when the last one has given it back.

    Args:
        name: Name of the backend in the configuration.
        backend: Where its replicas listen.
        terms: What its endpoints have in common.
        ejected: Called with the names of the backend and the endpoint after a replica was ejected.

    Attributes:
        name: Name of the backend in the configuration.
        cost: What a call costs here, compared with other backends.
        turn: How many calls have chosen among its replicas.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        terms: Terms,
        ejected: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self.name = name
        self.cost = backend.cost
        self.turn = 0
        self._backend = backend
        self._files = ClientFiles(backend.tls) if backend.tls is not None else None
        self._version = self._files.version if self._files is not None else 0
        self._terms = replace(terms, secured=self._secured, ejected=partial(ejected, name))
        self._given = terms
        self._users = 0
        self._endpoints: dict[str, Endpoint] = {}
        self._in_order: list[Endpoint] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._looked_up = asyncio.Event()
        if self._is_literal:
            self._add(backend.endpoints)
            self._looked_up.set()
        self._looking_up = asyncio.create_task(self._keep_looking_up(), name=f"look-up-{name}")

    def is_for(self, name: str, backend: Backend, terms: Terms) -> bool:
        """Say whether it is what a backend of that name would be now."""
        mine = self._given
        same = (mine.channels, mine.limits.max_message_bytes, mine.capability) == (
            terms.channels,
            terms.limits.max_message_bytes,  # of the limits, connections use no other
            terms.capability,
        )
        return self.name == name and self._backend == backend and same

    def take(self) -> Pool:
        """Keep it open until it is given back."""
        self._users += 1
        return self

    async def give_back(self) -> None:
        """Close it, unless somebody else has taken it."""
        self._users -= 1
        if self._users <= 0:
            await self.close()

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The replicas that are known, by address."""
        return self._in_order

    def statuses(self) -> list[EndpointStatus]:
        """Return what is known of each replica, by address."""
        return [endpoint.status for endpoint in self._in_order]

    @property
    def healthy(self) -> int:
        """How many replicas are healthy."""
        return sum(endpoint.is_healthy for endpoint in self._in_order)

    @property
    def serves(self) -> bool:
        """Whether a replica says that it serves; one that is ejected still answers when there is no other."""
        return any(endpoint.serves for endpoint in self._in_order)

    @property
    def hopes(self) -> bool:
        """Whether there is a replica that was not heard of yet, or may be: its name was not looked up yet."""
        unheard = (one.told_state is EndpointState.UNKNOWN for one in self._in_order)
        return not self._looked_up.is_set() or any(unheard)

    async def looked_up(self) -> None:
        """Return once its name was looked up for the first time, found or not."""
        await self._looked_up.wait()

    def despair(self) -> str:
        """Return what is wrong with all of its replicas."""
        if not self._in_order:
            return f"the name of {self.name} stands for no address now"
        return "; ".join(f"{one.endpoint} is {one.state}: {one.detail}" for one in self.statuses())

    async def close(self) -> None:
        """End the watches and the connections."""
        await end(self._looking_up)
        for task in self._closing:
            task.cancel()
        closing = (endpoint.close() for endpoint in self._in_order)
        await asyncio.gather(*closing, *self._closing, return_exceptions=True)

    @property
    def _is_literal(self) -> bool:
        host, _ = split_address(self._backend.endpoints[0])
        return is_literal(host)

    def _secured(self, address: str) -> Secured | None:
        """Return what a connection needs; certificates are for the name that the file has, if it has one."""
        if self._files is None:
            return None
        host, _ = split_address(address if self._is_literal else self._backend.endpoints[0])
        return self._files.secured(host)

    def _may_eject(self, endpoint: Endpoint) -> bool:
        """Say whether the others can do without one: at most half is ejected, never the last healthy one."""
        ejected = {EndpointState.EJECTED, EndpointState.PROBING}
        out = sum(one.status.state in ejected for one in self._in_order)
        others = any(one.is_healthy for one in self._in_order if one is not endpoint)
        return others and out + 1 <= len(self._in_order) // 2

    async def _keep_looking_up(self) -> None:
        """Watch the addresses that the backend's name stands for, and the certificates, as they change."""
        while True:
            try:
                self._update(await self._addresses())
                self._renew()
            except (OSError, UnicodeError) as error:  # the latter: a name that can be no host's
                log.warning(
                    "a backend's name cannot be looked up", extra={"backend": self.name, "error": str(error)}
                )
            if not self._looked_up.is_set():
                self._looked_up.set()
                self._terms.changed()
            await asyncio.sleep(LOOKUP_SECONDS)

    async def _addresses(self) -> set[str]:
        if self._is_literal:
            return set(self._backend.endpoints)
        host, port = split_address(self._backend.endpoints[0])
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return {join_address(f"{entry[4][0]}", port) for entry in found}

    def _update(self, addresses: set[str]) -> None:
        gone = [self._endpoints.pop(address) for address in self._endpoints.keys() - addresses]
        self._add(addresses - self._endpoints.keys())
        if gone:
            self._terms.changed()
            for endpoint in gone:
                self._later(endpoint.close(GRACE_SECONDS))

    def _add(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            self._endpoints[address] = Endpoint(address, self._terms, self._may_eject)
        self._in_order = [self._endpoints[address] for address in sorted(self._endpoints)]

    def _renew(self) -> None:
        """Connect anew when certificates were replaced: a channel keeps those that it began with."""
        if self._files is not None and (version := self._files.version) != self._version:
            self._version = version
            for endpoint in self._in_order:
                self._later(endpoint.renew(GRACE_SECONDS))

    def _later(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(closing, name=f"close-{self.name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
