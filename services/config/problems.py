"""What can be wrong with a configuration file, told all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def dotted(*parts: int | str) -> str:
    """Return where something is in the file, as TOML would write it: `models."two words".source`."""
    texts = (str(part) for part in parts)
    return ".".join(text if BARE_KEY.fullmatch(text) else f'"{text}"' for text in texts)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: Where in the file, dotted, for example `models.minilm.pooling`. Empty for the whole file.
        message: What is wrong. Never contains a secret.
        hint: What to do about it.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{advice}"


class ConfigurationInvalid(Exception):
    """The configuration file cannot be used.

    Attributes:
        file: The file that was read.
        problems: Everything that is wrong with it, ordered by path; at least one.
    """

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(set(problems)))
        count = len(self.problems)
        heading = f"{file}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))
