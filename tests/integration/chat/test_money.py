"""What answers cost, and what is no longer paid for, through the whole service."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import (
    ChatRequest,
    ChatResponse,
    CompleteRequest,
    Finish,
    JsonFormat,
    ResponseFormat,
)

from tests.support.chat_stage import ChatStage, chat_model, chat_stage, failure_of, provider, said, told
from tests.support.openai_server import EVENTS, OpenAiServer, Reply, openai_server

PAID: Final = 'tier = "standard"'
LOCAL: Final = 'tier = "local"'
LEDGER: Final = "spending.sqlite3"
PRICES: Final = (
    '[targets."{}"]\ninput_usd = 0.15\noutput_usd = 0.6\ncached_input_usd = 0.075\ncache_write_usd = 0.3\n'
)
COST: Final = 9 * 150 + 2 * 600
"""Nano dollars for the stand-in's 9 tokens in and 2 out, at these prices per million."""
QUESTION: Final = [said("Hi")]


def paid(budget: float | None = None) -> str:
    """Return a `[paid]` that allows it."""
    limit = "" if budget is None else f"monthly_budget_usd = {budget}\n"
    return f'[paid]\nenabled = true\nledger = "{LEDGER}"\n{limit}'


def shop(server: OpenAiServer, more: str, prices: str = PRICES) -> str:
    """Return a configuration with one paid target."""
    return (
        chat_model("dear", ["shop/m"])
        + provider("shop", "openai-compatible", server.url, PAID)
        + prices.format("shop/m")
        + more
    )


async def completed(stage: ChatStage, model: str = "dear", **fields: Any) -> ChatResponse:
    """Return the answer of a model in one piece."""
    return await stage.chat.Complete(CompleteRequest(model=model, messages=QUESTION, **fields))


async def finishes(stage: ChatStage, model: str = "dear", **fields: Any) -> list[Finish]:
    """Return how the same question ends in a stream and in one piece."""
    streamed = await told(stage.chat.Chat(ChatRequest(model=model, messages=QUESTION, **fields)))
    return [streamed.finish, (await completed(stage, model, **fields)).finish]


def spent(folder: Path) -> int:
    """Return what the ledger says, in nano dollars."""
    with closing(sqlite3.connect(folder / LEDGER)) as ledger:
        (total,) = ledger.execute("SELECT SUM(nano_usd) FROM spending").fetchone()
    return int(total)


def streamed(text: str, usage: str) -> Reply:
    """Return a streamed answer with a usage of its own."""
    body = (
        '{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        '{"choices":[],"usage":%s}',
    )
    lines = [body[0] % text, body[1], body[2] % usage, "[DONE]"]
    return Reply("".join(f"data: {line}\n\n" for line in lines).encode(), content_type=EVENTS)


async def test_cost_is_exact_and_the_same_however_the_answer_travels(tmp_path: Path) -> None:
    """To the billionth of a dollar; the ledger has the sum."""
    async with openai_server() as server, chat_stage(tmp_path, shop(server, paid())) as stage:
        both = await finishes(stage)
    for finish in both:
        assert finish.cost.nano_usd == COST
        assert (finish.usage.input_tokens, finish.usage.output_tokens) == (9, 2)
        [attempt] = finish.attempts
        assert (attempt.cost, attempt.usage) == (finish.cost, finish.usage)
    assert spent(tmp_path) == 2 * COST


async def test_cached_tokens_have_their_own_price(tmp_path: Path) -> None:
    """They are part of the input, and are not paid for twice."""
    usage = '{"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":80}}'
    async with openai_server() as server, chat_stage(tmp_path, shop(server, paid())) as stage:
        server.replies = [streamed("Hi", usage)] * 2
        both = await finishes(stage)
    assert [finish.cost.nano_usd for finish in both] == [20 * 150 + 80 * 75 + 10 * 600] * 2
    assert [finish.usage.cached_input_tokens for finish in both] == [80, 80]


async def test_price_that_is_not_known_leaves_the_cost_absent(tmp_path: Path) -> None:
    """It is not zero: that would be a claim. Local targets do cost zero."""
    async with openai_server() as server:
        local = chat_model("mine", ["home/m"]) + provider("home", "openai-compatible", server.url, LOCAL)
        async with chat_stage(tmp_path, shop(server, local + paid(), "")) as stage:
            both = await finishes(stage)
            mine = await finishes(stage, "mine")
    assert not any(finish.HasField("cost") or finish.attempts[0].HasField("cost") for finish in both)
    assert all(finish.HasField("usage") for finish in both)
    assert all(finish.HasField("cost") and finish.cost.nano_usd == 0 for finish in mine)


async def test_usage_that_is_not_told_leaves_the_cost_absent(tmp_path: Path) -> None:
    """And the usage as well; the call itself is fine."""
    silent = streamed("Hi", "null")
    async with openai_server() as server, chat_stage(tmp_path, shop(server, paid())) as stage:
        server.replies = [silent, silent]
        both = await finishes(stage)
    assert not any(finish.HasField("cost") or finish.HasField("usage") for finish in both)


async def test_attempts_carry_what_they_used_and_cost_themselves(tmp_path: Path) -> None:
    """An answer that had to be repaired was paid for twice; the cost of the call is that of the last one."""
    async with openai_server() as server, chat_stage(tmp_path, shop(server, paid())) as stage:
        bad = streamed("prose", '{"prompt_tokens":10,"completion_tokens":20}')
        good = streamed("[1]", '{"prompt_tokens":50,"completion_tokens":3}')
        server.replies = [bad, good, bad, good]
        both = await finishes(stage, response_format=ResponseFormat(json=JsonFormat()))
    first, second = 10 * 150 + 20 * 600, 50 * 150 + 3 * 600
    for finish in both:
        assert [attempt.cost.nano_usd for attempt in finish.attempts] == [first, second]
        assert [attempt.reason for attempt in finish.attempts] == ["INVALID_OUTPUT", ""]
        assert [attempt.usage.input_tokens for attempt in finish.attempts] == [10, 50]
        assert finish.cost.nano_usd == second
    assert spent(tmp_path) == 2 * (first + second)


async def test_errors_of_a_paid_target_cost_nothing(tmp_path: Path) -> None:
    """The next target answers; what was put aside for the first one is given back."""
    async with openai_server() as server, openai_server() as home:
        file = (
            chat_model("both", ["shop/m", "home/m"])
            + provider("home", "openai-compatible", home.url, LOCAL)
            + "[chat]\nmax_retries = 0\n"
        )
        async with chat_stage(tmp_path, shop(server, file + paid(1.0))) as stage:
            server.replies = [Reply(b"{}", 500)] * 2
            both = await finishes(stage, "both")
    for finish in both:
        assert [attempt.reason for attempt in finish.attempts] == ["UPSTREAM_UNAVAILABLE", ""]
        assert [attempt.cost.nano_usd for attempt in finish.attempts] == [0, 0]
        assert all(attempt.HasField("cost") for attempt in finish.attempts)
    assert spent(tmp_path) == 0


@pytest.mark.parametrize("method", ["Chat", "Complete"])
async def test_exhausted_budget_refuses_paid_calls_and_no_others(method: str, tmp_path: Path) -> None:
    """The paid target hears nothing; a local one after it answers, and says so."""
    async with openai_server() as server, openai_server() as home:
        file = (
            chat_model("both", ["shop/m", "home/m"])
            + provider("home", "openai-compatible", home.url, LOCAL)
            + paid(0.0001)
        )
        async with chat_stage(tmp_path, shop(server, file)) as stage:
            request: Any = {"Chat": ChatRequest, "Complete": CompleteRequest}[method]
            failure = await failure_of(getattr(stage.chat, method)(request(model="dear", messages=QUESTION)))
            answer = await completed(stage, "both")
        assert server.requests == []
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
    assert (answer.provider, answer.finish.cost.nano_usd) == ("home", 0)
    assert [attempt.provider for attempt in answer.finish.attempts] == ["home"]


async def test_what_was_spent_is_remembered_over_a_restart(tmp_path: Path) -> None:
    """The budget of the month is not new because the service is."""
    thousand = '[targets."{}"]\ninput_usd = 1000\noutput_usd = 1000\n'
    async with openai_server(OpenAiServer(["a "] * 500)) as server:
        file = shop(server, paid(2.3), thousand)
        async with chat_stage(tmp_path, file) as stage:
            answer = await completed(stage, max_output_tokens=1)
        async with chat_stage(tmp_path, file) as stage:
            request = CompleteRequest(model="dear", messages=QUESTION, max_output_tokens=1)
            failure = await failure_of(stage.chat.Complete(request))
        assert len(server.requests) == 1
    assert answer.finish.cost.nano_usd == spent(tmp_path) == 509_000_000
    assert failure.reason == "BUDGET_EXHAUSTED"
    assert failure.retry_after_seconds is not None


async def test_target_without_a_price_is_not_called_where_there_is_a_budget(tmp_path: Path) -> None:
    """Nobody could say whether it keeps to it."""
    async with openai_server() as server:
        async with chat_stage(tmp_path, shop(server, paid(100.0), "")) as stage:
            request = CompleteRequest(model="dear", messages=QUESTION)
            failure = await failure_of(stage.chat.Complete(request))
        assert server.requests == []
    assert failure.reason == "BUDGET_EXHAUSTED"
