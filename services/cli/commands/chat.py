"""`inglenook chat`: a question, or a conversation, with a chat model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from inglenook.chat.v1 import (
    ChatRequest,
    JsonSchemaFormat,
    Message,
    Part,
    ResponseFormat,
    Role,
    Tool,
    ToolResult,
)
from rich.markup import escape

from services.cli.client import CallFailed
from services.cli.console import EXIT_MISCONFIGURED, Output, as_dict
from services.cli.dialogue import (
    Dialogue,
    Reply,
    StreamingClient,
    Writer,
    harmless,
    summary,
    text_message,
)
from services.cli.session import AsJson, RouterAddress, Timeout, fail_with, reaching
from services.cli.texts import ModelName

ANSWER_SECONDS: Final = 600.0
"""Deadline of an answer, unless the caller sets another: models that run at home take their time."""

Prompt = Annotated[
    str | None,
    typer.Argument(
        help="What is asked. Without it, standard input is; where that is a terminal, a conversation begins.",
        show_default=False,
    ),
]
System = Annotated[str, typer.Option("--system", help="Instructions for all of it.", show_default=False)]
ToolFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--tool",
        metavar="FILE",
        help="A tool that the model may ask for: a JSON file with name, description and parameters_schema.",
        show_default=False,
    ),
]
SchemaFile = Annotated[
    Path | None,
    typer.Option("--schema", metavar="FILE", help="JSON Schema of the answer.", show_default=False),
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Longest answer in tokens.", show_default=False)
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", min=0, max=2, help="Randomness.", show_default=False)
]


def chat(
    prompt: Prompt = None,
    model: ModelName = "",
    system: System = "",
    *,
    tools: ToolFiles = None,
    schema: SchemaFile = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    router: RouterAddress = None,
    timeout: Timeout = ANSWER_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Talk with a language model. `--json` prints the events of the answer."""
    output = Output(as_json=as_json)
    request = ChatRequest(
        model=model,
        messages=[text_message(Role.ROLE_SYSTEM, system)] if system else [],
        tools=[read_tool(output, file) for file in tools or ()],
        response_format=None if schema is None else read_schema(output, schema),
        max_output_tokens=max_tokens,
        temperature=temperature,
    )
    question = prompt if prompt is not None else read_prompt(output)
    with reaching(output, router, timeout) as plain:
        client = StreamingClient(plain.channel, plain.address, plain.timeout_seconds)
        writer = Writer(sys.stdout, sys.stderr, silent=as_json)
        dialogue = Dialogue(client, request, writer)
        if question is None:
            converse(output, dialogue)
        else:
            ask(output, dialogue, question)


def ask(output: Output, dialogue: Dialogue, question: str) -> None:
    """Ask one question and tell the answer; without one, the tool ends."""
    try:
        reply = dialogue.say(text_message(Role.ROLE_USER, question))
    except CallFailed as error:
        fail_with(output, error)
    output.json({"message": as_dict(reply.message), "events": [as_dict(event) for event in reply.events]})
    tell_rest(output, reply)


def converse(output: Output, dialogue: Dialogue) -> None:
    """Ask what the person at the terminal types, until there is no more. What fails can be asked again."""
    output.note("[dim]Ctrl-D ends the conversation, Ctrl-C an answer[/]")
    while (line := read_line("> ")) is not None:
        if not line.strip():
            continue
        said = [text_message(Role.ROLE_USER, line)]
        while said:
            try:
                reply = dialogue.say(*said)
            except CallFailed as error:
                output.note(f"[bold red]error[/] {escape(str(error))}")
                break
            except KeyboardInterrupt:
                output.note("[dim]called off[/]")
                break
            tell_rest(output, reply)
            results = tool_results(reply)
            if results is None:
                return
            said = results


def tool_results(reply: Reply) -> list[Message] | None:
    """Return what the person says came of the tool calls of an answer; None at the end of the input."""
    results = []
    for call in reply.tool_calls:
        content = read_line(f"{harmless(call.name)} returned> ")
        if content is None:
            return None
        results.append(Part(tool_result=ToolResult(tool_call_id=call.id, content=content)))
    return [Message(role=Role.ROLE_TOOL, parts=results)] if results else []


def tell_rest(output: Output, reply: Reply) -> None:
    """Tell what of an answer was not written while it came."""
    for call in reply.tool_calls:
        output.show(f"[bold]{escape(harmless(call.name))}[/] {escape(harmless(call.arguments))}")
    output.note(summary(reply))


def read_line(prompt: str) -> str | None:
    """Return a line that is typed; None at the end of the input, or when it is called off."""
    try:
        return input(prompt)
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")
        return None


def read_prompt(output: Output) -> str | None:
    """Return standard input; None if it is a terminal, where a conversation is to begin."""
    if sys.stdin.isatty():
        if output.as_json:
            output.fail("no prompt: with --json, give it as an argument", EXIT_MISCONFIGURED)
        return None
    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig")  # whatever the locale says
    except UnicodeDecodeError:
        output.fail("standard input is not UTF-8 text", EXIT_MISCONFIGURED)
    if not content.strip():
        output.fail("no prompt: give it as an argument or on standard input", EXIT_MISCONFIGURED)
    return content.rstrip("\r\n")


def read_tool(output: Output, file: Path) -> Tool:
    """Return the tool that a file describes; its schema may be JSON, or JSON text as in the contract."""
    described = read_object(output, file)
    name, description = described.get("name"), described.get("description", "")
    schema = described.get("parameters_schema", "")
    if not isinstance(name, str) or not isinstance(description, str) or not isinstance(schema, str | dict):
        what = "name and description must be text and parameters_schema a JSON Schema"
        output.fail(f"{file}: {what}", EXIT_MISCONFIGURED)
    if isinstance(schema, dict):
        schema = json.dumps(schema, ensure_ascii=False)
    return Tool(name=name, description=description, parameters_schema=schema)


def read_schema(output: Output, file: Path) -> ResponseFormat:
    """Return the format that holds an answer to the schema in a file."""
    schema = json.dumps(read_object(output, file), ensure_ascii=False)
    return ResponseFormat(json_schema=JsonSchemaFormat(schema=schema))


def read_object(output: Output, file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; anything else ends the tool."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        output.fail(f"{file} cannot be read: {error.strerror}", EXIT_MISCONFIGURED)
    except (ValueError, RecursionError):
        output.fail(f"{file} is not JSON", EXIT_MISCONFIGURED)
    if not isinstance(value, dict):
        output.fail(f"{file} is no JSON object", EXIT_MISCONFIGURED)
    return value
