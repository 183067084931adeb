"""What one configuration has made, and which one is in force.

A reload builds the whole anew and puts it in the place of the old one, in one step. Calls that have begun go
on with what they began with; it is given back when the last of them has ended.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar


class Wired:
    """Something that calls use while they last. Belongs to one event loop."""

    def __init__(self) -> None:
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Note that a call uses it from now on."""
        self._calls += 1
        self._idle.clear()

    def end(self) -> None:
        """Note that a call does not use it any more."""
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def unused(self) -> None:
        """Return once no call uses it."""
        await self._idle.wait()


W = TypeVar("W", bound=Wired)


class InForce(Generic[W]):
    """Holds what is in force.

    Attributes:
        wiring: It; whoever puts another in its place sees to the old one.
    """

    def __init__(self, wiring: W) -> None:
        self.wiring = wiring

    def use(self) -> Use[W]:
        """Return, for `with`, what gives the wiring in force and keeps it open until the block ends."""
        return Use(self.wiring)


class Use(Generic[W]):
    """The use of a wiring by one call. A class, because every call has one and generators cost more."""

    __slots__ = ("_wiring",)

    def __init__(self, wiring: W) -> None:
        self._wiring = wiring

    def __enter__(self) -> W:
        self._wiring.begin()
        return self._wiring

    def __exit__(self, *_: object) -> None:
        self._wiring.end()
