"""`inglenook keys`: what is printed once, and what may be kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.config import hash_of, is_key, load, new_key


def test_new_key_is_printed_once_with_what_belongs_into_the_file(tmp_path: Path) -> None:
    """Standard output has the key in its first line, and below it lines that the configuration takes."""
    done = CliRunner().invoke(app, ["keys", "new", "--name", "acme.co"])
    assert done.exit_code == 0
    key, _, table = done.stdout.partition("\n")
    assert is_key(key)
    path = tmp_path / "inglenook.toml"
    path.write_text(table, encoding="utf-8")
    assert load(path).configuration.access.keys["acme.co"].hash == hash_of(key)
    assert key not in done.stderr + table


def test_programs_get_the_key_as_json() -> None:
    """One document and nothing else."""
    done = CliRunner().invoke(app, ["keys", "new", "--json"])
    document = json.loads(done.stdout)
    assert document["hash"] == hash_of(document["key"])
    assert done.stderr == ""


def test_hash_is_made_of_a_key_on_standard_input() -> None:
    """Not of an argument, which other users of the machine could see; the key is not printed."""
    key = new_key()
    done = CliRunner().invoke(app, ["keys", "hash", "--name", "acme"], input=f"{key}\n")
    assert f'[access.keys.acme]\nhash = "{hash_of(key)}"\n' in done.stdout
    assert key not in done.output


def test_random_key_from_elsewhere_is_taken_with_a_word() -> None:
    """Some companies have a vault that makes keys."""
    done = CliRunner().invoke(app, ["keys", "hash"], input="0123456789abcdef0123456789abcdef\n")
    assert hash_of("0123456789abcdef0123456789abcdef") in done.stdout
    assert "must be random" in done.stderr


@pytest.mark.parametrize("given", ["", "hunter2", "correct horse battery staple, and then some", "ключ" * 10])
def test_password_is_no_key(given: str) -> None:
    """A plain hash would not protect what people think up."""
    done = CliRunner().invoke(app, ["keys", "hash", "--json"], input=given)
    assert done.exit_code == 2
    assert "not a key" in json.loads(done.stdout)["error"]["message"]


def test_name_that_no_file_could_have_is_refused() -> None:
    """Before there is a key that nobody would use."""
    done = CliRunner().invoke(app, ["keys", "new", "--name", "two words"])
    assert done.exit_code == 2
    assert "ink_" not in done.output
