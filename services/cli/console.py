"""What the tool writes: tables and progress for people, or one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2
PIPE_WIDTH: Final = 200
"""Columns of a table that no terminal shows: grep wants whole lines."""


class Output:
    """Where a command writes.

    Answers go to standard output; progress and errors to standard error. As JSON, an error is the one
    document on standard output, so that a program has a single place to look.

    Args:
        as_json: Write JSON and nothing else.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._answers = _console(stderr=False)
        self._asides = _console(stderr=True)

    def json(self, document: Mapping[str, Any]) -> None:
        """Write a JSON document, if JSON was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
            sys.stdout.flush()

    def show(self, *things: Table | str) -> None:
        """Write tables and lines, unless JSON was asked for."""
        if not self.as_json:
            for thing in things:
                self._answers.print(thing, soft_wrap=isinstance(thing, str))

    def note(self, line: str) -> None:
        """Write an aside to standard error, unless JSON was asked for."""
        if not self.as_json:
            self._asides.print(line, soft_wrap=True)

    @contextmanager
    def progress(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Show that something long runs; yields what changes the words. Silent where no terminal is."""
        if self.as_json or not self._asides.is_terminal:
            yield lambda _: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=self._asides, transient=True) as progress:
            task = progress.add_task(doing, total=None)
            yield lambda words: progress.update(task, description=f"{doing}: {words}" if words else doing)

    def fail(self, message: str, exit_code: int = EXIT_FAILED, **facts: Any) -> NoReturn:
        """Tell what went wrong and end the tool; `facts` are for programs, beside the message."""
        if self.as_json:
            self.json({"error": {"message": message, **facts}})
        else:
            self._asides.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True)
        raise typer.Exit(exit_code)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column name that starts with ">" is aligned to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return made


def facts(lines: Iterable[tuple[str, str]]) -> Table:
    """Return names and values, a line each; the values may have markup."""
    made = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for line in lines:
        made.add_row(*line)
    return made


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message in the JSON mapping of protobuf, which `buf curl` and grpcurl print as well."""
    converted: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return converted


def shortened(text: str, length: int) -> str:
    """Return `text` in one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def cell(text: str, length: int, *, wrap: bool = False) -> Text:
    """Return `text`, shortened, for a table; square brackets in it are no markup.

    Where the terminal is narrower than that, it is cut at the end of its line, or goes on in the next.
    """
    return Text(shortened(text, length), no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")


def _console(*, stderr: bool) -> Console:
    # No emoji: the name x:cloud before a colon would become a picture.
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
