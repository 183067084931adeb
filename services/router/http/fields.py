"""Reading JSON that callers wrote: one member at a time, each of the type that it must have.

Paths of what is wrong are JSON paths as OpenAI writes them in `param`: `messages[0].content[1].image_url`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

from services.chassis.errors import InvalidRequest

MAX_INT32: Final = 2**31 - 1
MAX_INT64: Final = 2**63 - 1

T = TypeVar("T")


class Fields:
    """The members of a JSON object. A member that is null counts as absent.

    Args:
        value: The object.
        path: Where it is in the body; empty for the body itself.
    """

    def __init__(self, value: Mapping[str, Any], path: str = "") -> None:
        self._value = value
        self._path = path

    def path(self, name: str) -> str:
        """Return where a member is in the body."""
        return f"{self._path}.{name}" if self._path else name

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Say what is wrong with a member.

        Raises:
            InvalidRequest: Always.
        """
        raise InvalidRequest([(self.path(name), problem)])

    def has(self, name: str) -> bool:
        """Say whether there is such a member."""
        return self._value.get(name) is not None

    def take(self, name: str) -> Any:
        """Return a member, whatever it is; None if it is absent."""
        return self._value.get(name)

    def text(self, name: str) -> str | None:
        """Return a string; None if it is absent. Each of these raises InvalidRequest for another type."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            self.refuse(name, "must be a string")
        return value

    def required_text(self, name: str) -> str:
        """Return a string that must be there."""
        value = self.text(name)
        if value is None:
            self.refuse(name, "must be set")
        return value

    def choice(self, name: str, choices: Mapping[str, T]) -> T | None:
        """Return what one of several words stands for."""
        value = self.text(name)
        if value is None:
            return None
        if value not in choices:
            self.refuse(name, f"must be one of {', '.join(choices)}")
        return choices[value]

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            self.refuse(name, "must be true or false")
        return value

    def number(self, name: str) -> float | None:
        """Return a number."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name, "must be a number")
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if not math.isfinite(found):
            self.refuse(name, "is out of range")
        return found

    def count(self, name: str, most: int = MAX_INT32) -> int | None:
        """Return a whole number of at most `most`, or at least minus that."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, "must be a whole number")
        if not -most <= value <= most:
            self.refuse(name, "is out of range")
        return value

    def inner(self, name: str) -> Fields | None:
        """Return an object."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(name, "must be an object")
        return Fields(value, self.path(name))

    def required_inner(self, name: str) -> Fields:
        """Return an object that must be there."""
        inner = self.inner(name)
        if inner is None:
            self.refuse(name, "must be set")
        return inner

    def items(self, name: str) -> Sequence[Any]:
        """Return a list; an empty one if it is absent."""
        value = self.take(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.refuse(name, "must be a list")
        return value

    def objects(self, name: str) -> Iterator[Fields]:
        """Yield the objects of a list."""
        for index, value in enumerate(self.items(name)):
            place = f"{name}[{index}]"
            if not isinstance(value, dict):
                self.refuse(place, "must be an object")
            yield Fields(value, self.path(place))

    def texts(self, name: str) -> list[str]:
        """Return one string or a list of them, as a list."""
        value = self.take(name)
        if isinstance(value, str):
            return [value]
        for index, text in enumerate(self.items(name)):
            if not isinstance(text, str):
                self.refuse(f"{name}[{index}]", "must be a string")
        return list(self.items(name))

    def json(self, name: str) -> str:
        """Return an object as JSON text, its members in their order; empty if it is absent."""
        value = self.take(name)
        if value is None:
            return ""
        if not isinstance(value, dict):
            self.refuse(name, "must be an object")
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except ValueError:
            self.refuse(name, "has a number that is out of range")

    def check_known(self, known: Collection[str]) -> None:
        """Refuse members with other names than these; names that callers made up are not repeated."""
        if any(name not in known for name, value in self._value.items() if value is not None):
            raise InvalidRequest(
                [(self._path, f"there is a parameter that this version does not know; known: {_list(known)}")]
            )


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
