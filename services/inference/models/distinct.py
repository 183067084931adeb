"""What callers send twice is computed once."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Distinct(Generic[T]):
    """Values without repetitions, in the order in which they first came.

    Attributes:
        values: Each value once.
        places: For every value that was added, repetitions included: its place in `values`.
        firsts: For each of `values`: when it was first added, counted from 0.
    """

    def __init__(self) -> None:
        self.values: list[T] = []
        self.places: list[int] = []
        self.firsts: list[int] = []
        self._known: dict[T, int] = {}

    def add(self, value: T) -> int:
        """Add a value; return its place in `values`."""
        place = self._known.setdefault(value, len(self.values))
        if place == len(self.values):
            self.values.append(value)
            self.firsts.append(len(self.places))
        self.places.append(place)
        return place
