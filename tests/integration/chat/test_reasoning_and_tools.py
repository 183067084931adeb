"""Conversations with tools over several turns: what a provider signed goes back to it, and to no other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from inglenook.chat.v1 import (
    ChatRequest,
    CompleteRequest,
    FinishReason,
    Message,
    Part,
    ReasoningOptions,
    Role,
    Signature,
    Tool,
    ToolResult,
)

from tests.support.anthropic_server import Reply, anthropic_server
from tests.support.chat_stage import (
    KEY,
    KEY_VARIABLE,
    ChatStage,
    chat_model,
    chat_stage,
    provider,
    said,
    told,
)
from tests.support.ollama_models import ServedModel, calls, says
from tests.support.ollama_server import CHAT, OllamaServer
from tests.support.tool_cases import CASES, Case, golden

TOOLS: Final = [
    Tool(name=name, description="Looks.", parameters_schema='{"type":"object"}')
    for name in ("get_weather", "weather", "now", "add")
]
RESULT: Final = '{"sun": true}'
PAID: Final = '[paid]\nenabled = true\nledger = "spending.sqlite3"\n'


def configuration(case: Case, url: str) -> str:
    """Return two models, at two providers of the same kind and address."""
    more = f'api_key = "env:{KEY_VARIABLE}"' + ('\ntier = "standard"' if "compatible" in case.kind else "")
    return (
        chat_model("one", [f"first/{case.model}"])
        + chat_model("two", [f"second/{case.model}"])
        + provider("first", case.kind, url, more)
        + provider("second", case.kind, url, more)
        + PAID
    )


async def answers(stage: ChatStage, messages: Sequence[Message], model: str = "one") -> list[Message]:
    """Return an answer that came in pieces, and one in one piece."""
    fields: dict[str, Any] = {"model": model, "messages": messages, "tools": TOOLS}
    streamed = await told(stage.chat.Chat(ChatRequest(**fields)))
    whole = await stage.chat.Complete(CompleteRequest(**fields))
    assert streamed.finish.reason == whole.finish.reason == FinishReason.FINISH_REASON_TOOL_CALLS
    return [streamed.message, whole.message]


def replied(answer: Message) -> list[Message]:
    """Return the conversation in which all tool calls of an answer have got their result."""
    results = [
        Part(tool_result=ToolResult(tool_call_id=part.tool_call.id, content=RESULT))
        for part in answer.parts
        if part.HasField("tool_call")
    ]
    return [said("Weather?"), answer, Message(role=Role.ROLE_TOOL, parts=results)]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_tool_conversation_goes_back_to_its_provider_as_it_came(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thoughts, signatures, ids and arguments, whether the answer came as a stream or in one piece."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    async with (
        anthropic_server(Reply([case.stream])) as server,
        chat_stage(tmp_path, configuration(case, server.url)) as stage,
    ):
        streamed, whole = await answers(stage, [said("Weather?")])
        assert streamed == whole
        server.requests.clear()
        await answers(stage, replied(streamed))
    assert len(server.requests) == 2
    for request in server.requests:
        turns = [turn for turn in request.body[case.turns] if turn["role"] in {"assistant", "model"}]
        assert turns == [case.back]
        assert "sun" in json.dumps(request.body)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_one_provider_signed_is_not_sent_to_another(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to one of the same kind: who signed is the provider of the configuration. The call is sent."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    async with (
        anthropic_server(Reply([case.stream])) as server,
        chat_stage(tmp_path, configuration(case, server.url)) as stage,
    ):
        [answer, _] = await answers(stage, [said("Weather?")])
        signed = [part.signature.provider for part in answer.parts if part.HasField("signature")]
        assert signed == ["first"] * len(signed)
        assert bool(signed) == bool(case.secrets)
        server.requests.clear()
        await answers(stage, replied(answer), "two")
    for request in server.requests:
        sent = json.dumps(request.body, ensure_ascii=False)
        assert not any(secret in sent for secret in case.secrets)
        assert all(part.tool_call.name in sent for part in answer.parts if part.HasField("tool_call"))


async def test_signature_that_nobody_made_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out, whatever its bytes are."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    for case in CASES.values():
        async with (
            anthropic_server(Reply([case.stream])) as server,
            chat_stage(tmp_path, configuration(case, server.url)) as stage,
        ):
            [answer, _] = await answers(stage, [said("Weather?")])
            for part in answer.parts:
                part.signature.CopyFrom(Signature(provider="first", data=b"\xff\x00["))
            server.requests.clear()
            await answers(stage, replied(answer))
        assert len(server.requests) == 2


async def test_thoughts_without_tools_come_back_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose text is withheld too: they are a part without text, with a signature."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    key = f'api_key = "env:{KEY_VARIABLE}"'
    async with anthropic_server(Reply([golden("anthropic/redacted_reasoning")])) as server:
        file = chat_model("one", ["first/claude-sonnet-4-5"]) + provider(
            "first", "anthropic", server.url, key
        )
        async with chat_stage(tmp_path, file + PAID) as stage:
            effort = ReasoningOptions(effort=ReasoningOptions.EFFORT_LOW)
            request = ChatRequest(messages=[said("Why?")], reasoning=effort)
            streamed = (await told(stage.chat.Chat(request))).message
            turns = [said("Why?"), streamed, said("And?")]
            whole = await stage.chat.Complete(CompleteRequest(messages=turns, reasoning=effort))
    assert streamed == whole.message
    assert [part.WhichOneof("kind") for part in streamed.parts] == ["reasoning", "reasoning", "text"]
    assert server.requests[1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "Sig0="},
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/"},
        {"type": "text", "text": "No."},
    ]


async def test_tool_calls_of_an_ollama_get_ids_that_are_never_the_same(tmp_path: Path) -> None:
    """It has none of its own, and callers have to tell calls of several turns apart."""
    model = ServedModel("gemma3n:e2b", calls(("now", {}), ("add", {"x": 1})))
    async with OllamaServer(model) as ollama:
        file = chat_model("one", ["ollama/gemma3n:e2b"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file) as stage:
            streamed, whole = await answers(stage, [said("Weather?")])
            ids = [part.tool_call.id for message in (streamed, whole) for part in message.parts]
            ollama.models["gemma3n:e2b"] = ServedModel("gemma3n:e2b", says("Sunny."))
            request = CompleteRequest(messages=replied(streamed), tools=TOOLS)
            assert (await stage.chat.Complete(request)).message.parts[0].text == "Sunny."
        turns = ollama.seen(CHAT)[-1].body["messages"]
    assert len(set(ids)) == 4
    assert [part.tool_call.arguments for part in streamed.parts] == ["{}", '{"x":1}']
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool"]
    assert [one["function"]["arguments"] for one in turns[1]["tool_calls"]] == [{}, {"x": 1}]
