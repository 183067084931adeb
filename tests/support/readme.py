"""Commands that README.md shows, so that tests can run them."""

from __future__ import annotations

import re
import shlex
from typing import Final

BLOCK: Final = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM: Final = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMPT: Final = "$ "


def section(text: str, title: str) -> str:
    """Return what stands between the heading `## title` and the next heading of that level.

    Raises:
        LookupError: There is no such heading.
    """
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    for heading, content in zip(parts[1::2], parts[2::2], strict=True):
        if heading.strip() == title:
            return content
    message = f"there is no section {title!r}"
    raise LookupError(message)


def console_commands(text: str) -> list[list[str]]:
    """Return the commands of fenced `console` blocks, each split as a shell would.

    A command is a line after the prompt, and the lines after it while a backslash ends them; other lines
    are what commands print.
    """
    commands = []
    for block in BLOCK.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        commands += [shlex.split(line.removeprefix(PROMPT)) for line in lines if line.startswith(PROMPT)]
    return commands


def programs(text: str) -> list[str]:
    """Return what stands in fenced `python` blocks."""
    return PROGRAM.findall(text)
