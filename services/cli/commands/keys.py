"""`inglenook keys`: API keys, and what the configuration keeps of them. No service has to run."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Final

import typer
from rich.markup import escape

from services.cli.console import EXIT_MISCONFIGURED, Output
from services.cli.session import AsJson
from services.config import hash_of, is_key, new_key
from services.config.problems import dotted

keys = typer.Typer(help="Make API keys, and what the configuration keeps of them.", no_args_is_help=True)

LEAST_CHARACTERS: Final = 32
"""Of a key from elsewhere: 32 random hexadecimal digits are 128 bits, which nobody can try."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")

KeyName = Annotated[str, typer.Option("--name", help="What logs and metrics shall call the key.")]


@keys.command("new")
def new(name: KeyName = "name", as_json: AsJson = False) -> None:
    """Make a key. It is shown this once; the file gets its hash, from which nobody can tell it."""
    output = Output(as_json=as_json)
    _check_name(output, name)
    key = new_key()
    hashed = hash_of(key)
    output.json({"name": name, "key": key, "hash": hashed})
    output.note("The key, for whoever calls. It is shown this once:")
    output.show(key)
    output.note("\nFor the configuration file:")
    output.show(escape(_table(name, hashed)))


@keys.command("hash")
def hash_key(name: KeyName = "name", as_json: AsJson = False) -> None:
    """Read a key from standard input, and print what the configuration keeps of it."""
    output = Output(as_json=as_json)
    _check_name(output, name)
    key = sys.stdin.readline().strip()
    if not key.isascii() or any(character.isspace() for character in key) or len(key) < LEAST_CHARACTERS:
        message = f"not a key: it needs {LEAST_CHARACTERS} characters of ASCII at least, without spaces"
        output.fail(message, EXIT_MISCONFIGURED)
    if not is_key(key):
        output.note("[yellow]This key was not made by `inglenook keys new`: it must be random, all of it.[/]")
    output.json({"name": name, "hash": hash_of(key)})
    output.show(escape(_table(name, hash_of(key))))


def _check_name(output: Output, name: str) -> None:
    if not NAME.fullmatch(name):
        output.fail("--name takes letters, digits and . _ : / -", EXIT_MISCONFIGURED)


def _table(name: str, hashed: str) -> str:
    """Return the lines of the configuration file."""
    return f'[{dotted("access", "keys", name)}]\nhash = "{hashed}"'
