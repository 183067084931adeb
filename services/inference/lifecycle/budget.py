"""The memory that is spoken for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.inference.lifecycle.states import MEGABYTE


class NoRoom(Exception):
    """A model does not fit into the memory budget.

    Args:
        need_bytes: How much it needs.
        left_bytes: How much there is for it.
        told: What that is.
    """

    def __init__(self, need_bytes: int, left_bytes: int, told: str = "the budget leaves") -> None:
        need, left = (math.ceil(max(0, count) / MEGABYTE) for count in (need_bytes, left_bytes))
        super().__init__(
            f"needs about {need} MB, {told} {left} MB: raise engine.memory_budget_mb or use a smaller model"
        )


@dataclass(slots=True, eq=False)
class Reservation:
    """Memory for one model that is about to be opened, or being opened.

    Attributes:
        need_bytes: How much; 0 once the model is open, because then it shows in what the process has.
        is_granted: Whether opening may have begun.
    """

    need_bytes: int
    is_granted: bool = False


class Budget:
    """A limit of memory and those who want some of it, in the order in which they came.

    Args:
        limit_bytes: Most resident memory; 0 for no limit.

    Attributes:
        limit_bytes: As given; may change.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._reservations: list[Reservation] = []

    def reserve(self, need_bytes: int) -> Reservation:
        """Get in line for memory."""
        reservation = Reservation(need_bytes)
        self._reservations.append(reservation)
        return reservation

    def give_back(self, reservation: Reservation) -> None:
        """Need nothing any more."""
        self._reservations.remove(reservation)

    def excess(self, resident_bytes: int, reservation: Reservation) -> int:
        """Return how many bytes too many there would be if a reservation were granted now.

        Those who came earlier count too: who needs little does not overtake them, so nobody waits for ever.
        """
        if not self.limit_bytes:
            return 0
        spoken_for = sum(one.need_bytes for one in (*self._rivals(reservation), reservation))
        return max(0, resident_bytes + spoken_for - self.limit_bytes)

    def overrun(self, resident_bytes: int) -> int:
        """Return how many bytes too many the process has."""
        return max(0, resident_bytes - self.limit_bytes) if self.limit_bytes else 0

    def is_alone(self, reservation: Reservation) -> bool:
        """Say whether nobody came earlier and nothing else is being opened."""
        return not self._rivals(reservation)

    def _rivals(self, reservation: Reservation) -> list[Reservation]:
        place = self._reservations.index(reservation)
        behind = [one for one in self._reservations[place + 1 :] if one.is_granted]
        return self._reservations[:place] + behind
