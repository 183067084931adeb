"""Secrets are named in the configuration file, never written into it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, final

from pydantic import AfterValidator, WithJsonSchema

from services.config import environment

REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[/~][^\0]*")
"""Narrow on purpose: a secret that was pasted behind `env:` is refused and not repeated in a message."""


@final
class Secret:
    """A value that must not be seen. Printing, formatting or logging it shows stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value. Call it where the value is used, and keep the result nowhere."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretUnavailable(Exception):
    """A secret reference points to a variable that is not set or a file that cannot be read."""


def check_reference(reference: str) -> str:
    """Return `reference` if it is `env:NAME` or `file:/path`.

    Raises:
        ValueError: It is something else, perhaps the secret itself; the message does not repeat it.
    """
    if not REFERENCE.fullmatch(reference):
        message = "must refer to a secret as env:NAME or file:/path, not contain it"
        raise ValueError(message)
    return reference


SecretReference = Annotated[
    str, AfterValidator(check_reference), WithJsonSchema({"type": "string", "format": "secret"})
]
"""A string that refers to a secret: `env:NAME` or `file:/path`."""


def resolve(reference: str) -> Secret:
    """Return the secret that `reference` points to; surrounding white space is dropped.

    Raises:
        SecretUnavailable: The variable is unset or empty, or the file is missing, unreadable or empty.
    """
    scheme, _, rest = check_reference(reference).partition(":")
    if scheme == "env":
        value = environment.variable(rest) or ""
    else:
        try:
            value = Path(rest).expanduser().read_text(encoding="utf-8")
        except (OSError, RuntimeError, UnicodeDecodeError) as error:  # RuntimeError: no home of that name
            message = f"{reference} cannot be read: {type(error).__name__}"
            raise SecretUnavailable(message) from error
    if not value.strip():
        message = f"{reference} is not set or empty"
        raise SecretUnavailable(message)
    return Secret(value.strip())
