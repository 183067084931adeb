"""Whatever bytes are sent to a method, the answer is a status that explains itself, and the process lives."""

from __future__ import annotations

import itertools
import json

import pytest
from google.protobuf.descriptor import MethodDescriptor

from tests.fuzz.campaign import OUTCOMES, Outcome, send_all
from tests.fuzz.cluster import SERVED, Fuzzed, methods
from tests.fuzz.dice import CANARY
from tests.fuzz.messages import drawn, garbled
from tests.fuzz.real import NAMES

GROWTH_BYTES = 96 * 2**20
"""Most that a process may grow by while it is fuzzed."""
WARM_UP = 64
DRAWN: dict[str, list[bytes]] = {}
"""What hypothesis has made, by type of message: every process that takes the type gets the same."""

CASES = [
    pytest.param(process, method, id=f"{process}-{method.name}")
    for process in SERVED
    for method in methods(process)
]


def made(method: MethodDescriptor, count: int, start: int) -> list[bytes]:
    """Return hypothesis' messages for a method."""
    name = method.input_type.full_name
    if name not in DRAWN:
        DRAWN[name] = drawn(method.input_type, NAMES, count, start)
    return DRAWN[name]


@pytest.mark.parametrize(("process", "method"), CASES)
async def test_every_message_gets_an_answer(
    fuzzed: Fuzzed, process: str, method: MethodDescriptor, count: int, start: int
) -> None:
    """Hypothesis' messages and damaged bytes: no hang, no bug, nothing told that callers must not see."""
    outcome = Outcome(f"{process} {method.name}")
    messages = made(method, count, start)
    await send_all(fuzzed.channels[process], method, messages[:WARM_UP], Outcome("warm-up"))
    before, logged = fuzzed.memory_bytes(process), fuzzed.log_bytes(process)
    contents = itertools.chain(messages, garbled(method.input_type, NAMES, count, start))
    await send_all(fuzzed.channels[process], method, contents, outcome)
    assert fuzzed.alive(process), fuzzed.programs[process].log.read_text()[-2000:]
    outcome.memory_bytes = fuzzed.memory_bytes(process)
    outcome.grown_bytes = outcome.memory_bytes - before
    OUTCOMES.append(outcome)
    assert outcome.wrong == []
    assert outcome.grown_bytes < GROWTH_BYTES
    assert logged_errors(fuzzed, process, logged) == []


def logged_errors(fuzzed: Fuzzed, process: str, before: int) -> list[str]:
    """Return what a process has logged that it should not have, after so many bytes."""
    text = fuzzed.programs[process].log.read_bytes()[before:].decode()
    lines = text.splitlines()
    wrong = [line for line in lines if CANARY in line]
    wrong += [line for line in lines if line.startswith("{") and json.loads(line)["level"] == "error"]
    return [line[:3000] for line in wrong[:3]]
