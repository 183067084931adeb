"""`inglenook chat` at a terminal: a process of its own, and a person who types."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inglenook.chat.v1 import FinishReason, Role

from services.chassis.errors import InvalidRequest
from tests.support.scripted_chat import ScriptedChat, begun, call_piece, ended, piece, saying, scripted_chat

SECONDS = 30
PROMPT = "> "


@dataclass
class Session:
    """The tool at a terminal.

    Attributes:
        process: The tool.
        terminal: What a person sees and types.
        seen: What has been shown and not been looked for yet.
    """

    process: subprocess.Popen[bytes]
    terminal: int
    seen: str = ""

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.terminal, line.encode() + b"\n")

    def until(self, words: str) -> str:
        """Wait until `words` are shown; return what was shown before them."""
        deadline = time.monotonic() + SECONDS
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.seen += os.read(self.terminal, 4096).decode()
        before, _, self.seen = self.seen.partition(words)
        return before


@contextmanager
def talking(service: ScriptedChat) -> Iterator[Session]:
    """Start the tool at a terminal."""
    person, tool = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "chat", "--router", service.address],
        stdin=tool,
        stdout=tool,
        stderr=tool,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(tool)
    try:
        yield Session(process, person)
    finally:
        process.kill()
        process.wait()
        os.close(person)


def test_a_conversation_goes_on_over_errors_tools_and_answers_that_are_called_off() -> None:
    """What was answered is remembered, what was not is not; Ctrl-C ends an answer, Ctrl-D the tool."""
    calls = [begun(), call_piece(0, id="c1", name="now", arguments="{}")]
    with scripted_chat() as service, talking(service) as session:
        service.scripts = [
            saying("Hello."),
            [InvalidRequest([("messages", "not so")])],
            [begun(), piece(text="Well"), None],
            [*calls, ended(FinishReason.FINISH_REASON_TOOL_CALLS)],
            saying("It is noon."),
        ]
        session.until(PROMPT)
        session.type("Hi")
        assert "Hello." in session.until("total 2.0 s")
        session.until(PROMPT)
        session.type("Bad")
        session.until("INVALID_REQUEST: messages not so")
        session.until(PROMPT)
        session.type("Long")
        session.until("Well")
        session.process.send_signal(signal.SIGINT)
        session.until("called off")
        assert service.left.wait(SECONDS)
        session.until(PROMPT)
        session.type("What time is it?")
        session.until("now returned> ")
        session.type("12:00")
        session.until("It is noon.")
        session.until(PROMPT)
        os.write(session.terminal, b"\x04")
        assert session.process.wait(SECONDS) == 0
    asked = [[message.role for message in request.messages] for request in service.requests]
    answered = [Role.ROLE_USER, Role.ROLE_ASSISTANT]
    asking = [*answered, Role.ROLE_USER]
    assert asked == [[Role.ROLE_USER], asking, asking, asking, [*answered * 2, Role.ROLE_TOOL]]
    result = service.requests[-1].messages[-1].parts[0].tool_result
    assert (result.tool_call_id, result.content) == ("c1", "12:00")


def test_a_terminal_and_json_do_not_go_together() -> None:
    """Nobody could tell where the document begins."""
    person, tool = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", "chat", "--json"],
            stdin=tool,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(tool)
        os.close(person)
    assert done.returncode == 2
    assert b"give it as an argument" in done.stdout


def test_the_end_of_the_input_ends_a_conversation_that_waits_for_a_tool() -> None:
    """A model that asks for its tool over and over must not hold a person who wants to leave."""
    calls = [begun(), call_piece(0, id="c1", name="now", arguments="{}")]
    with scripted_chat() as service, talking(service) as session:
        service.scripts = [[*calls, ended(FinishReason.FINISH_REASON_TOOL_CALLS)]]
        session.until(PROMPT)
        session.type("What time is it?")
        session.until("now returned> ")
        os.write(session.terminal, b"\x04")
        assert session.process.wait(SECONDS) == 0
    assert len(service.requests) == 1
