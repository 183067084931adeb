"""One computation for all who want the same answer at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping


class Flights:
    """Who computes what now.

    A caller boards with the keys that it has no answers for. Those that nobody computes yet it has to lead:
    compute, then `land`, or `abandon`. For the others it gets futures. Each waiter has futures of its own,
    so that one that leaves disturbs nobody.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[asyncio.Future[bytes | None]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def board(self, keys: Iterable[bytes]) -> tuple[list[bytes], dict[bytes, asyncio.Future[bytes | None]]]:
        """Return the keys that this caller leads, in their order and each once, and those that others lead.

        Whoever leads keys has to `land` or to `abandon` every one of them, whatever happens. A future yields
        the answer, or None: then the leader has failed or left, and the waiter computes for itself. It never
        raises.
        """
        led: list[bytes] = []
        own: set[bytes] = set()
        awaited: dict[bytes, asyncio.Future[bytes | None]] = {}
        for key in keys:
            if key in own or key in awaited:
                continue
            waiting = self._waiting.get(key)
            if waiting is None:
                self._waiting[key] = []
                led.append(key)
                own.add(key)
            else:
                awaited[key] = asyncio.get_running_loop().create_future()
                waiting.append(awaited[key])
        return led, awaited

    def land(self, values: Mapping[bytes, bytes | None]) -> None:
        """Give answers to all who wait for them; the flights end. Keys that nobody leads are passed over."""
        for key, value in values.items():
            for future in self._waiting.pop(key, ()):
                if not future.done():  # else: the waiter has left
                    future.set_result(value)

    def abandon(self, keys: Iterable[bytes]) -> None:
        """End flights without answers: the leader failed or leaves. Only for keys led and not landed yet."""
        self.land(dict.fromkeys(keys))
