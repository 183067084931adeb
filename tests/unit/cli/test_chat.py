"""`inglenook chat`: what it asks, and how it tells the answer."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inglenook.chat.v1 import (
    Attempt,
    ChatRequest,
    Delta,
    FinishReason,
    JsonSchemaFormat,
    Message,
    Part,
    ResponseFormat,
    Role,
    Signature,
    Tool,
)
from typer.testing import CliRunner, Result

from services.chassis.errors import InvalidRequest
from services.cli.dialogue import Writer, dollars
from services.cli.main import app
from tests.support.configuration import free_addresses
from tests.support.scripted_chat import ScriptedChat, begun, call_piece, ended, piece, saying, scripted_chat

SUMMARY = "talker, home/tiny:1b, 5 + 7 tokens, $0.00123, first token 250.0 ms, total 2.0 s"
SCHEMA = '{"type":"object","properties":{"zebra":{},"ape":{}}}'


class Terminal(io.StringIO):
    """Text that says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def service() -> Iterator[ScriptedChat]:
    """Return a chat service that greets."""
    with scripted_chat() as service:
        service.scripts = [saying("Hel", "lo, wörld", "!")]
        yield service


def run(service: ScriptedChat, *arguments: str, given: str | bytes = "") -> Result:
    """Run the command against a service, with `given` on its standard input."""
    return CliRunner().invoke(app, ["chat", *arguments, "--router", service.address], input=given)


def document(service: ScriptedChat, *arguments: str, code: int = 0) -> Any:
    """Run the command with --json and return what it printed."""
    done = run(service, *arguments, "--json")
    assert (done.exit_code, done.stderr) == (code, ""), done.output
    return json.loads(done.stdout)


def user(text: str) -> Message:
    """Return a turn of the user."""
    return Message(role=Role.ROLE_USER, parts=[Part(text=text)])


def test_standard_output_is_the_answer_and_nothing_else(service: ScriptedChat) -> None:
    """What is said about the answer goes beside it, so that the answer can be piped."""
    done = run(service, "Hi")
    assert (done.exit_code, done.stdout) == (0, "Hello, wörld!\n")
    assert done.stderr.strip() == SUMMARY


def test_a_text_that_ends_its_line_is_not_given_another_end(service: ScriptedChat) -> None:
    """A file that a model wrote arrives as it wrote it."""
    service.scripts = [saying("one\n", "two\n")]
    assert run(service, "Hi").stdout == "one\ntwo\n"


@pytest.mark.parametrize("given", ["Sum this up:\n\na\n", "\ufeffSum this up:\n\na"])
def test_without_a_prompt_standard_input_is_asked_whole(service: ScriptedChat, given: str) -> None:
    """Lines are part of the question here, not questions of their own."""
    assert run(service, given=given).exit_code == 0
    assert service.requests == [ChatRequest(messages=[user("Sum this up:\n\na")])]


@pytest.mark.parametrize("given", ["", " \n", b"\xff\xfe"])
def test_nothing_to_ask_is_a_mistake_in_the_command(service: ScriptedChat, given: str | bytes) -> None:
    """No call is made for it."""
    done = run(service, given=given)
    assert (done.exit_code, service.requests) == (2, [])
    assert done.stderr.startswith("error ")


def test_every_option_travels(service: ScriptedChat, tmp_path: Path) -> None:
    """Schemas keep the order of their properties: it matters to models."""
    tool, plain, schema = tmp_path / "tool.json", tmp_path / "plain.json", tmp_path / "schema.json"
    tool.write_text(f'{{"name":"look","description":"Looks.","parameters_schema":{SCHEMA}}}')
    plain.write_text(json.dumps({"name": "now", "parameters_schema": SCHEMA}))
    schema.write_text(SCHEMA)
    options = ["--model", "talker", "--system", "Be brief.", "--tool", str(tool), "--tool", str(plain)]
    limits = ["--schema", str(schema), "--max-tokens", "9", "--temperature", "0"]
    assert run(service, "Hi", *options, *limits).exit_code == 0
    [request] = service.requests
    system = Message(role=Role.ROLE_SYSTEM, parts=[Part(text="Be brief.")])
    spaced = SCHEMA.replace(":", ": ").replace(",", ", ")
    assert request == ChatRequest(
        model="talker",
        messages=[system, user("Hi")],
        tools=[
            Tool(name="look", description="Looks.", parameters_schema=spaced),
            Tool(name="now", parameters_schema=SCHEMA),
        ],
        response_format=ResponseFormat(json_schema=JsonSchemaFormat(schema=spaced)),
        max_output_tokens=9,
        temperature=0.0,
    )
    assert request.HasField("temperature")


@pytest.mark.parametrize(
    "content", [None, b"{", b"[]", b"\xff", b'{"name":7}', b'{"parameters_schema":"{}"}']
)
def test_a_tool_file_that_is_none_is_named(
    service: ScriptedChat, tmp_path: Path, content: bytes | None
) -> None:
    """The tool ends before anything is asked."""
    file = tmp_path / "tool.json"
    if content is not None:
        file.write_bytes(content)
    error = document(service, "Hi", "--tool", str(file), code=2)["error"]
    assert str(file) in error["message"]
    assert service.requests == []


def test_tool_calls_are_printed_with_their_arguments(service: ScriptedChat) -> None:
    """A line each, put together out of their pieces; square brackets are no markup."""
    service.scripts = [
        [
            begun(),
            piece(text="I look."),
            call_piece(1, id="c1", name="look", arguments='{"at":'),
            call_piece(2, id="c2", name="now", arguments="{}"),
            call_piece(1, arguments='"[red]"}'),
            ended(FinishReason.FINISH_REASON_TOOL_CALLS),
        ]
    ]
    assert run(service, "Hi").stdout == 'I look.\nlook {"at":"[red]"}\nnow {}\n'


def test_as_json_the_events_and_their_sum_are_one_document(service: ScriptedChat) -> None:
    """The sum is the assistant's turn, ready to be sent back, with what the provider signed."""
    signature = Signature(provider="home", data=b"secret")
    service.scripts = [
        [
            begun(),
            piece(reasoning="Hm."),
            piece(signature=signature),
            piece(1, signature=signature),
            piece(2, text="Yes"),
            piece(2, text="."),
            ended(),
        ]
    ]
    told = document(service, "Hi")
    assert [next(iter(event)) for event in told["events"]] == ["start", *["delta"] * 5, "finish"]
    signed = {"provider": "home", "data": "c2VjcmV0"}
    assert told["message"] == {
        "role": "ROLE_ASSISTANT",
        "parts": [
            {"reasoning": {"text": "Hm."}, "signature": signed},
            {"reasoning": {"text": ""}, "signature": signed},
            {"text": "Yes."},
        ],
    }


def test_an_answer_that_breaks_off_is_an_error_after_what_there_is(service: ScriptedChat) -> None:
    """What has been written stays; a program sees the error alone."""
    service.scripts = [[begun(), piece(text="It was"), InvalidRequest([("messages", "no [more]")])]]
    done = run(service, "Hi")
    assert (done.exit_code, done.stdout) == (1, "It was\n")
    assert done.stderr == "error INVALID_REQUEST: messages no [more]\n"
    assert document(service, "Hi", code=1)["error"]["reason"] == "INVALID_REQUEST"


def test_a_router_that_is_not_there_is_told_with_what_to_do() -> None:
    """As for every command."""
    (address,) = free_addresses(1)
    done = CliRunner().invoke(app, ["chat", "Hi", "--router", address])
    assert done.exit_code == 1
    assert "inglenook up" in done.stderr


def test_an_answer_that_takes_too_long_ends_at_the_deadline(service: ScriptedChat) -> None:
    """And the service learns of it."""
    service.scripts = [[begun(), None]]
    done = run(service, "Hi", "--timeout", "0.3")
    assert done.exit_code == 1
    assert "DEADLINE_EXCEEDED" in done.stderr
    assert service.left.wait(5)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (FinishReason.FINISH_REASON_LENGTH, "cut off: the longest answer was reached"),
        (FinishReason.FINISH_REASON_CONTENT_FILTER, "refused by the provider or the model"),
    ],
)
def test_an_answer_that_is_not_all_of_it_says_so(
    service: ScriptedChat, reason: FinishReason.ValueType, words: str
) -> None:
    """It ended well for the wire, but not for the reader."""
    service.scripts = [[begun(), piece(text="It was"), ended(reason)]]
    assert run(service, "Hi").stderr.strip() == f"{SUMMARY}, {words}"


def test_what_is_not_known_of_an_answer_is_not_told(service: ScriptedChat) -> None:
    """Unknown tokens and costs are not zero; attempts that failed are counted."""
    end = ended(usage=None, cost=None, timings=None, attempts=[Attempt(), Attempt()])
    service.scripts = [[begun(), piece(text="Hi"), end]]
    assert run(service, "Hi").stderr.strip() == "talker, home/tiny:1b, 2 attempts"


@pytest.mark.parametrize(
    ("nano_usd", "shown"),
    [(0, "$0"), (1, "$0.000000001"), (1_230_000, "$0.00123"), (2_500_000_000, "$2.5"), (10**9, "$1")],
)
def test_money_is_shown_exactly(nano_usd: int, shown: str) -> None:
    """No digit is made up and none is lost."""
    assert dollars(nano_usd) == shown


def test_a_model_cannot_steer_the_terminal() -> None:
    """Escape sequences in its text lose what makes them such; a pipe gets the text as it is."""
    terminal, pipe = Terminal(), io.StringIO()
    for answers in (terminal, pipe):
        Writer(answers, io.StringIO()).write(Delta(text="a\x1b[2Jb\r\x9bc\n\td"))
    assert terminal.getvalue() == "a[2Jbc\n\td"
    assert pipe.getvalue() == "a\x1b[2Jb\r\x9bc\n\td"


def test_thoughts_are_shown_to_a_person_only() -> None:
    """Dimmed and beside the answer; where nobody looks on they go nowhere."""
    answers, person, nobody = io.StringIO(), Terminal(), io.StringIO()
    for asides in (person, nobody):
        writer = Writer(answers, asides)
        writer.write(Delta(reasoning="Hm."))
        writer.write(Delta(part_index=1, text="Yes."))
        writer.end_line()
    assert answers.getvalue() == "Yes.\nYes.\n"
    assert person.getvalue() == "\x1b[2mHm.\x1b[0m\n"
    assert nobody.getvalue() == ""
