"""What decides how a message looks: a seeded generator, or hypothesis."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from hypothesis import strategies

T = TypeVar("T")

CANARY: Final = "qz7canary"
"""A part of many texts, which must come back in no error and no log."""
HALF: Final = "~S~"
"""Stands for half of a surrogate pair, which protobuf for Python lets into no message: `on_the_wire`."""
HALF_BYTES: Final = b"\xed\xa0\x80"

TEXTS: Final = (
    "", " ", "\t\n", "the cat sits", f"a dog runs {CANARY}", f"{CANARY} \0 \x1b[31m \x7f", "x" * 5_000,
    "水 жш é 🎉", "\u202e\u200d\ufeff", f"{HALF}{CANARY}", "{}", "{} {}", "{0.__class__}", "%s%n",
    "\ufffe\uffff", '{"type": "object"}', '{"type": "array", "items": {"$ref": "#"}}', '{"$ref": "#"}',
    "null", "1e999", "image/png", "https://example.invalid/a.png", "data:image/png;base64,AAAA", "call_1",
    "../../etc/passwd", "[" * 500, "a" * 257,
)  # fmt: skip
INTEGERS: Final = (
    0,
    1,
    -1,
    2,
    16,
    127,
    128,
    1023,
    1024,
    1025,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**63 - 1,
    -(2**63),
)
REALS: Final = (0.0, -0.0, 1.0, 0.5, 2.0, -1.0, 1e-45, 1e38, 1e300, math.inf, -math.inf, math.nan)


class Dice(Protocol):
    """Decides."""

    def number(self, lowest: int, highest: int) -> int:
        """Return one of these."""

    def one_of(self, choices: Sequence[T]) -> T:
        """Return one of these."""

    def real(self) -> float:
        """Return any number, infinite or none at all included."""

    def text(self) -> str:
        """Return any text."""

    def data(self, most: int) -> bytes:
        """Return any bytes."""


class Seeded:
    """Decides by a seed; quick."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self, lowest: int, highest: int) -> int:
        """Return one of these."""
        return self._random.randint(lowest, highest)

    def one_of(self, choices: Sequence[T]) -> T:
        """Return one of these."""
        return self._random.choice(choices)

    def real(self) -> float:
        """Return an odd number, or any bits."""
        if self._random.random() < 0.5:
            return self._random.choice(REALS)
        return float(struct.unpack("<d", self._random.randbytes(8))[0])

    def text(self) -> str:
        """Return an odd text, or any characters."""
        if self._random.random() < 0.8:
            return self._random.choice(TEXTS)
        points = (
            self._random.choice((0x7F, 0x7FF, 0xD7FF, 0x10FFFF)) for _ in range(self._random.randint(1, 20))
        )
        return "".join(_character(self._random.randint(0, highest)) for highest in points)

    def data(self, most: int) -> bytes:
        """Return any bytes."""
        return self._random.randbytes(self._random.randint(0, most))


class Drawn:
    """Lets hypothesis decide, which looks for edges of its own."""

    def __init__(self, draw: Callable[[strategies.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def number(self, lowest: int, highest: int) -> int:
        """Return one of these."""
        return int(self._draw(strategies.integers(lowest, highest)))

    def one_of(self, choices: Sequence[T]) -> T:
        """Return one of these."""
        found: T = self._draw(strategies.sampled_from(choices))
        return found

    def real(self) -> float:
        """Return any number."""
        return float(self._draw(strategies.floats()))

    def text(self) -> str:
        """Return any text without halves of pairs, or an odd one."""
        return str(self._draw(ANY_TEXT))

    def data(self, most: int) -> bytes:
        """Return any bytes."""
        return bytes(self._draw(strategies.binary(max_size=most)))


ANY_TEXT: Final = strategies.one_of(
    strategies.sampled_from(TEXTS), strategies.text(strategies.characters(codec="utf-8"), max_size=40)
)


def chance(dice: Dice, percent: int) -> bool:
    """Return true that often. Hypothesis likes 0 and 99 best, which decide for the more likely."""
    return (dice.number(0, 99) + 50) % 100 < percent


def _character(point: int) -> str:
    return "?" if 0xD800 <= point <= 0xDFFF else chr(point)
