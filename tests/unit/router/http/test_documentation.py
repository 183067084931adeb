"""docs/http.md, against what is really there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import compile_path

from services.chassis.errors import Reason
from services.router.http import body, connection, door, sse
from services.router.http.failures import REASONS
from services.router.http.site import METRICS, PATHS
from tests.support.asgi import JSON_HEADERS, Calls, ask

PAGE = (Path(__file__).parents[4] / "docs" / "http.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:3030"
COMMANDS = re.findall(r"^\$ (curl .*)$", PAGE, re.MULTILINE)
SAYS = {"-H", "--json"}


class Command:
    """What a command sends."""

    def __init__(self, text: str) -> None:
        words = [word for word in shlex.split(text)[1:] if word != "-N"]
        (address,) = [word for word in words if word.startswith(ADDRESS)]
        given = {flag: [words[at + 1] for at, word in enumerate(words) if word == flag] for flag in SAYS}
        self.path = address.removeprefix(ADDRESS)
        self.content = given["--json"][0].encode() if given["--json"] else b""
        self.method = "POST" if self.content else "GET"
        self.headers: dict[str, str] = dict(JSON_HEADERS) if self.content else {}
        self.headers |= dict(header.split(": ", 1) for header in given["-H"])


@pytest.mark.parametrize("text", COMMANDS)
async def test_examples_are_understood(text: str) -> None:
    """Each becomes a call, or needs none."""
    command, calls = Command(text), Calls()
    told = await ask(calls, command.path, command.content, method=command.method, headers=command.headers)
    streams = b'"stream": true' in command.content  # of which nothing comes
    unwell = command.path == "/health"  # and that nothing is not SERVING
    assert told.status == (502 if streams else 503 if unwell else 200), told.content
    assert calls.requests or command.path == "/openapi.json"


def test_every_path_has_an_example() -> None:
    """With its method."""
    asked = {(command.method, command.path) for command in map(Command, COMMANDS)}
    paths: list[Any] = [*((method, path) for method, path, _ in PATHS), ("GET", METRICS)]
    for method, path in paths:
        pattern, _, _ = compile_path(path)
        assert any(method == one and pattern.match(address) for one, address in asked), path


def test_every_reason_is_under_its_status() -> None:
    """Those that only calls of operators over gRPC end with are left out."""
    rows = dict(re.findall(r"^\| (4\d\d|5\d\d)(?:, \d+)? \| (.*) \|$", PAGE, re.MULTILINE))
    told = {reason: int(status) for status, row in rows.items() for reason in re.findall(r"`([A-Z_]+)`", row)}
    operators = {Reason.CACHE_UNAVAILABLE, Reason.CONFIG_INVALID}
    assert told == {reason: REASONS[reason].status for reason in Reason if reason not in operators}


def test_limits_are_those_of_the_code() -> None:
    """A reader may plan with them."""
    for said in (
        f"{body.MAX_VALUES:,} and {body.MAX_NESTS:,}, nested {body.MAX_DEPTH} deep",
        f"64 KiB, within {connection.HEAD_SECONDS:g} seconds",
        f"| {door.KEEP_ALIVE_SECONDS} seconds |",
        f"| {door.STUCK_SECONDS} seconds (Linux) |",
        f"After {sse.SILENT_SECONDS:g} seconds without content",
        f"every {sse.KEEP_ALIVE_SECONDS:g} seconds",
    ):
        assert said in PAGE
