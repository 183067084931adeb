"""Pairs of texts, and how one that is too long is shortened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.inference.template import Ids

Truncation = Literal["none", "right", "left"]
"""Which side of a text that is too long is cut; none refuses it."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs over two lists of texts: a text that is part of many pairs is tokenized once.

    Attributes:
        firsts: Texts that stand first.
        seconds: Texts that stand second.
        places: The pairs, as indexes into `firsts` and `seconds`.
        cut: Which of the two is shortened when a pair is too long; the other one never is.
        names: What the caller calls the first and the second text of pair i, for error messages.
    """

    firsts: Sequence[str]
    seconds: Sequence[str]
    places: Sequence[tuple[int, int]]
    cut: Literal["first", "second"]
    names: Callable[[int], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TooLong:
    """A pair that does not fit.

    Attributes:
        name: What the caller calls the text that is in the way: the one that could have been cut, or the
            other one if it leaves no room.
        tokens: Tokens of both texts, without special tokens.
        cuttable: Whether that text would be cut if the caller asked for it.
    """

    name: str
    tokens: int
    cuttable: bool


def fit(
    pairs: Pairs, index: int, texts: tuple[Ids, Ids], room: int, truncation: Truncation
) -> tuple[Ids, Ids] | TooLong:
    """Return the two texts of a pair, shortened to `room` tokens together where they are longer."""
    first, second = texts
    tokens = len(first) + len(second)
    if tokens <= room:
        return texts
    cut_first = pairs.cut == "first"
    left = room - len(second if cut_first else first)
    if left < 1:
        return TooLong(pairs.names(index)[1 if cut_first else 0], tokens, cuttable=False)
    if truncation == "none":
        return TooLong(pairs.names(index)[0 if cut_first else 1], tokens, cuttable=True)
    if cut_first:
        return shorten(first, left, truncation), second
    return first, shorten(second, left, truncation)


def shorten(ids: Ids, room: int, truncation: Truncation) -> Ids:
    """Return `ids`, cut to `room` tokens on the side that `truncation` says if there are more."""
    if len(ids) <= room:
        return ids
    return ids[:room] if truncation == "right" else ids[len(ids) - room :]
