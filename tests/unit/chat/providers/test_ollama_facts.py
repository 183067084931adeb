"""What an Ollama says of its models, and how long it is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.facts import FRESH_SECONDS, Sheets, listed_facts, shown_facts
from tests.support.fakeclock import FakeClock

FACTS = Facts(tools=True)


def test_what_is_shown_is_read() -> None:
    """Capabilities that are not listed are not there."""
    shown = {
        "capabilities": ["completion", "vision", "thinking"],
        "model_info": {"general.architecture": "gemma3", "gemma3.context_length": 32768},
    }
    assert shown_facts(shown) == Facts(
        context_length=32768,
        tools=False,
        images=True,
        reasoning=True,
        json_schema=True,
        json=True,
        remote=False,
        chat=True,
    )


def test_a_model_that_runs_elsewhere_is_remote_and_not_held_to_a_format() -> None:
    """Grammars are not applied in the cloud."""
    facts = shown_facts({"remote_host": "https://ollama.com:443", "capabilities": ["completion"]})
    assert (facts.remote, facts.json, facts.json_schema) == (True, False, False)


@pytest.mark.parametrize("read", [shown_facts, listed_facts])
def test_what_is_not_said_is_unknown(read: Callable[[dict[str, Any]], Facts]) -> None:
    """Old versions list no capabilities; their models are tried."""
    for data in ({}, {"capabilities": None, "details": None, "model_info": None}, {"model_info": {"a": 1}}):
        facts = read(data)
        assert (facts.tools, facts.images, facts.reasoning, facts.chat, facts.context_length) == (None,) * 5


def test_a_list_tells_facts_too() -> None:
    """One request tells of all models."""
    facts = listed_facts({"capabilities": ["embedding"], "details": {"context_length": 2048}})
    assert (facts.chat, facts.context_length) == (False, 2048)


class Shown:
    """Answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.answer: Facts | Failure = FACTS

    async def __call__(self, model: str) -> Facts:
        """Answer."""
        del model
        self.asked += 1
        await self.open.wait()
        if isinstance(self.answer, Failure):
            raise self.answer
        return self.answer


def _run(claim: Callable[[Shown, Sheets, FakeClock], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        shown, clock = Shown(), FakeClock()
        sheets = Sheets(shown, clock)
        await claim(shown, sheets, clock)
        await sheets.aclose()

    asyncio.run(main())


def test_facts_are_asked_for_again_after_a_minute() -> None:
    """A model can be replaced under its name."""

    async def claim(shown: Shown, sheets: Sheets, clock: FakeClock) -> None:
        shown.open.set()
        assert await sheets.facts("m") == FACTS
        clock.advance(FRESH_SECONDS - 1)
        await sheets.facts("m")
        assert shown.asked == 1
        clock.advance(1)
        await sheets.facts("m")
        assert shown.asked == 2

    _run(claim)


def test_many_callers_ask_once() -> None:
    """A burst of calls after a start is one question, also when the first of them leaves."""

    async def claim(shown: Shown, sheets: Sheets, clock: FakeClock) -> None:
        del clock
        callers = [asyncio.create_task(sheets.facts("m")) for _ in range(10)]
        await asyncio.sleep(0)
        callers[0].cancel()
        await asyncio.wait(callers[:1])
        shown.open.set()
        assert await asyncio.gather(*callers[1:]) == [FACTS] * 9
        assert shown.asked == 1

    _run(claim)


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    """The next call asks again, and what was known before is forgotten."""

    async def claim(shown: Shown, sheets: Sheets, clock: FakeClock) -> None:
        shown.open.set()
        await sheets.facts("m")
        clock.advance(FRESH_SECONDS)
        shown.answer = Failure(FailureKind.MODEL_MISSING, "gone")
        outcomes = await asyncio.gather(sheets.facts("m"), sheets.facts("m"), return_exceptions=True)
        assert list(outcomes) == [shown.answer] * 2
        assert shown.asked == 2
        shown.answer = FACTS
        assert await sheets.facts("m") == FACTS

    _run(claim)


def test_closing_ends_questions_that_nobody_waits_for() -> None:
    """Nothing is left running."""

    async def claim(shown: Shown, sheets: Sheets, clock: FakeClock) -> None:
        del clock
        caller = asyncio.create_task(sheets.facts("m"))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        await sheets.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert shown.asked == 1

    _run(claim)
