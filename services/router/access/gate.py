"""Who a caller is by its key, and whether it may do what it asks for.

Keys are compared as digests, all of them for every call and each in the same time, so that how long a refusal
takes says nothing of the keys there are.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry

from services.config import Access, Key, Permission, hash_of
from services.router.access.errors import KeyNotAllowed, Unauthenticated
from services.router.access.meter import Meter
from services.router.access.metrics import AccessMetrics

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

KEY_HEADER: Final = "x-api-key"
AUTHORIZATION: Final = "authorization"
SHOWN_IN: Final = frozenset({KEY_HEADER, AUTHORIZATION})
BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class _Holder:
    """One key: its name, what the file says of it, and what it has done."""

    name: str
    key: Key
    digest: bytes
    meter: Meter


class Gate:
    """Lets calls in, or says why not. Belongs to one event loop.

    Args:
        access: What the configuration says.
        registry: Where metrics go.
        reachable: Whether other machines can reach this process.
        clock: Tells the time in nanoseconds.
    """

    def __init__(
        self,
        access: Access,
        registry: CollectorRegistry,
        *,
        reachable: bool,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._reachable = reachable
        self._clock = clock
        self._metrics = AccessMetrics(registry)
        self._holders: Mapping[str, _Holder] = {}
        self.required = False
        self.adopt(access)

    @property
    def is_open(self) -> bool:
        """Whether there are no keys, so that anybody may call; an `authorization` means nothing then."""
        return not self._holders

    def adopt(self, access: Access) -> None:
        """Put another configuration in force.

        Calls in flight go on. A key whose limits are the same keeps what it has used of them.
        """
        self._holders = {name: self._holder(name, key) for name, key in access.keys.items()}
        by_default = self._reachable and bool(access.keys)
        self.required = by_default if access.required is None else access.required

    def check(self, metadata: Metadata, permission: Permission | None = None) -> str | None:
        """Return the name of the key that came, or None if none came and none has to. Nothing is counted.

        Args:
            metadata: Of a call, or the headers of an HTTP request; names in lower case.
            permission: What the caller wants to do; None if any key will do.

        Raises:
            Unauthenticated: No key came though one must, or nobody has the one that came.
            KeyNotAllowed: It is not for this.
        """
        with self._metrics.refusals():
            holder = self._identify(metadata, permission)
        return holder.name if holder is not None else None

    @contextmanager
    def entered(self, metadata: Metadata, permission: Permission | None) -> Iterator[None]:
        """Let a call in until the block ends, and count it.

        Raises:
            Unauthenticated: As `check` does.
            KeyNotAllowed: As `check` does.
            TooFast: The key has called too often of late.
            TooManyAtOnce: It has too many calls in the router.
        """
        with self._metrics.refusals():
            holder = self._identify(metadata, permission)
            if holder is not None:
                holder.meter.enter()
        if holder is None:
            yield
            return
        self._metrics.let_in(holder.name)
        try:
            yield
        finally:
            holder.meter.leave()

    def _identify(self, metadata: Metadata, permission: Permission | None) -> _Holder | None:
        if self.is_open:
            return None
        shown = _shown(metadata)
        if shown is None:
            if self.required:
                raise Unauthenticated(missing=True)
            return None
        digest = hash_of(shown).encode()
        found = [holder for holder in self._holders.values() if hmac.compare_digest(holder.digest, digest)]
        if not found:
            raise Unauthenticated(missing=False)
        if permission is not None and permission not in found[0].key.allow:
            raise KeyNotAllowed(permission)
        return found[0]

    def _holder(self, name: str, key: Key) -> _Holder:
        known = self._holders.get(name)
        if known is not None and known.key.hash == key.hash and known.meter.fits(key):
            meter = known.meter
        else:
            meter = Meter(key, self._clock)
        return _Holder(name, key, key.hash.encode(), meter)


def _shown(metadata: Metadata) -> str | None:
    """Return the key that came with a call; None if none did.

    `x-api-key` goes first: whoever sends it means it, while programs made for OpenAI send an `authorization`
    always.
    """
    found = {name: value for name, value in metadata if name in SHOWN_IN and isinstance(value, str)}
    if KEY_HEADER in found:
        return found[KEY_HEADER].strip()
    authorization = found.get(AUTHORIZATION, "")
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip()
    return None
