"""Collects what is wrong with a request, so that all of it is told at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container
from typing import Any, Final

from services.chassis.errors import InvalidRequest

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
UNKNOWN_VALUE: Final = "has a value that this version does not know"
BAD_NAME: Final = "must be 1 to 64 letters, digits, underscores and dashes"


class Violations:
    """Fields that are wrong, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, field: str, problem: str) -> None:
        """Note a field and what is wrong with it; neither holds anything that the caller wrote."""
        self._found.append((field, problem))

    def check_name(self, field: str, name: str) -> None:
        """Note a name that is not made of what names are made of."""
        if not NAME.fullmatch(name):
            self.add(field, BAD_NAME)

    def check_known(self, field: str, value: int, known: Container[int]) -> None:
        """Note an enum value that the contract does not define."""
        if value not in known:
            self.add(field, UNKNOWN_VALUE)

    def number(self, field: str, value: float, least: float, most: float) -> float:
        """Return a float of the wire as what was meant by it: 0.7, not 0.699999988079071.

        Notes it if it is not within `least` to `most`.
        """
        if not (math.isfinite(value) and least <= value <= most):
            self.add(field, f"must be {least:g} to {most:g}")
            return least
        return float(f"{value:.7g}")

    def at_least(self, field: str, value: int, least: int = 1) -> int:
        """Return `value`; note it if it is below `least`."""
        if value < least:
            self.add(field, f"must be {least} or more")
        return value

    def json_object(self, field: str, text: str) -> dict[str, Any]:
        """Return the JSON object that `text` is; note it if it is none."""
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            self.add(field, "must be valid JSON")
            return {}
        if not isinstance(value, dict):
            self.add(field, "must be a JSON object")
            return {}
        return value

    def raise_any(self) -> None:
        """Return if nothing was found.

        Raises:
            InvalidRequest: Something was; all of it is told.
        """
        if self._found:
            raise InvalidRequest(self._found)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's
