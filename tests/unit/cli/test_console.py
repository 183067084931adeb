"""What the tool writes, and where."""

from __future__ import annotations

import json

import pytest
import typer
from inglenook.embed.v1 import EmbedResponse

from services.cli.console import EXIT_MISCONFIGURED, Output, as_dict, cell, facts, shortened, table


def test_json_output_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads standard output whole, so tables and notes must not get in."""
    output = Output(as_json=True)
    with output.progress("working") as tell:
        tell("hard")
    output.show("a line for people")
    output.note("an aside")
    output.json({"answer": 42})
    written = capsys.readouterr()
    assert json.loads(written.out) == {"answer": 42}
    assert written.err == ""


def test_people_see_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the document is not written."""
    output = Output(as_json=False)
    output.json({"answer": 42})
    output.show("a line")
    assert capsys.readouterr().out == "a line\n"


def test_errors_for_people_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pipes the answer on sees the error all the same, with its brackets unharmed."""
    with pytest.raises(typer.Exit) as ended:
        Output(as_json=False).fail("inputs[3] must not be empty", EXIT_MISCONFIGURED)
    written = capsys.readouterr()
    assert ended.value.exit_code == EXIT_MISCONFIGURED
    assert written.out == ""
    assert "inputs[3] must not be empty" in written.err


def test_a_name_between_colons_does_not_become_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """Models are called x:cloud, and a colon often follows."""
    output = Output(as_json=False)
    made = table("NAME")
    made.add_row("ollama/x:cloud: 1")
    output.show(made, "ollama/x:cloud: 2")
    with pytest.raises(typer.Exit):
        output.fail("ollama/x:cloud: 3")
    written = capsys.readouterr()
    assert [text.count("ollama/x:cloud: ") for text in written] == [2, 1]


def test_errors_for_programs_are_the_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    """A program finds the error where it would have found the answer."""
    with pytest.raises(typer.Exit):
        Output(as_json=True).fail("no", reason="NO_BACKEND")
    assert json.loads(capsys.readouterr().out) == {"error": {"message": "no", "reason": "NO_BACKEND"}}


def test_wide_tables_are_not_wrapped_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A row stays one line for grep when no terminal shows it."""
    made = table("NAME", ">SIZE")
    made.add_row("x" * 120, "1")
    Output(as_json=False).show(made)
    assert "x" * 120 in capsys.readouterr().out


def test_shortened_text_is_one_line_of_the_length_asked_for() -> None:
    """Line breaks and long texts cannot tear a table apart."""
    assert shortened("a\n b", 10) == "a b"
    assert shortened("abcdefghij", 5) == "abcd…"


def test_messages_are_shown_as_other_tools_show_them() -> None:
    """The JSON is protobuf's own mapping, with the fields that are not set."""
    assert as_dict(EmbedResponse(model="m"))["cachedInputs"] == 0


def test_a_cell_shows_square_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A text that looks like markup neither loses its brackets nor ends the command."""
    made = table("TEXT")
    made.add_row(cell("[bold]a[/bold] [/] :smile:", 40))
    Output(as_json=False).show(made)
    assert "[bold]a[/bold] [/] :smile:" in capsys.readouterr().out


def test_facts_are_lines_of_a_name_and_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """Values stand in one column, without a header above them."""
    Output(as_json=False).show(facts([("name", "small"), ("max tokens", "256")]))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name        small", "max tokens  256"]
