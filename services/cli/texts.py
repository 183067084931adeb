"""What commands about texts have in common: where the texts come from, and which model gets them how."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Final

import typer
from inglenook.common.v1 import Truncation

from services.cli.console import EXIT_MISCONFIGURED, Output

SHOWN_CHARACTERS: Final = 96
"""How much of a text a table shows at most."""
SHOWN_BESIDE: Final = 48
"""The same where a second long column stands beside it."""


class TruncationName(StrEnum):
    """Which side of a text that is too long is cut."""

    NONE = "none"
    RIGHT = "right"
    LEFT = "left"

    @property
    def wire(self) -> Truncation.ValueType:
        """The value that requests have for it."""
        return Truncation.Value(f"TRUNCATION_{self.name}")


Texts = Annotated[
    list[str] | None, typer.Argument(help="The texts. Without any, each line of standard input is one.")
]
ModelName = Annotated[str, typer.Option("--model", help="Which model; not needed if there is only one.")]
TruncationOption = Annotated[
    TruncationName, typer.Option("--truncation", help="Side of too long texts to cut; none refuses them.")
]


def read_texts(output: Output, texts: list[str] | None, called: str = "texts") -> list[str]:
    """Return the texts that were given as arguments, else the lines of standard input, empty ones left out.

    Where standard input is a terminal, nobody would know what is being waited for: that ends the tool.
    """
    return texts or [line for _, line in read_lines(output, f"no {called}: give them as arguments")]


def read_lines(output: Output, missing: str) -> list[tuple[int, str]]:
    """Return the lines of standard input that are not empty, with their numbers, from 1.

    Args:
        output: Where it is told that there is no input, or that it is not text.
        missing: What to say if standard input is a terminal.
    """
    if sys.stdin.isatty():
        output.fail(f"{missing} or on standard input, one a line", EXIT_MISCONFIGURED)
    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig")  # whatever the locale says
    except UnicodeDecodeError:
        output.fail("standard input is not UTF-8 text", EXIT_MISCONFIGURED)
    lines = (line.rstrip("\r") for line in content.split("\n"))
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
