"""How long a regular expression may take, before it is tried.

Python's engine tries one way after the other to match, and there is no way to stop it: a few characters of
pattern can hold the whole process for years. The bound here is the number of ways that there may be, and is
never too low. It is far too high for many patterns that are fine; those are not tried on long strings.
"""

from __future__ import annotations

import re
from typing import Final

TRIED_STEPS: Final = 5_000_000
"""Most steps of the engine for one string: some hundredths of a second."""

ONE_CHARACTER: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
BACKREFERENCE: Final = re.compile(r"\\[1-9]")
TANGLED: Final = re.compile(r"\(\?(?!:)|\)(?:[*+]|\{)|\x00")
"""Looks around or back, or repeats what has parts of its own: no bound is known."""
REPEATED: Final = re.compile(r"[*+]|\{\d*,\d*\}")


def steps_to_match(pattern: str, length: int) -> int | None:
    """Return a bound on the engine's steps on a string of `length` characters; None if there is none."""
    bare = ONE_CHARACTER.sub(lambda one: "\x00" if BACKREFERENCE.fullmatch(one[0]) else "a", pattern)
    if TANGLED.search(bare):
        return None
    choices, optional = bare.count("|") + 1, bare.count("?") - bare.count("(?:")
    begins = bare.startswith("^") and choices == 1
    powers = len(REPEATED.findall(bare)) + (not begins)
    ways = choices ** (bare.count("(") + 1) * 2**optional
    return int(ways * (length + len(bare) + 1) ** max(powers, 1))


def may_be_tried(pattern: str, length: int) -> bool:
    """Say whether a pattern may be tried on a string of `length` characters."""
    steps = steps_to_match(pattern, length)
    return steps is not None and steps <= TRIED_STEPS
