"""Chat through a router and a chat service, as processes of their own, to a stand-in for an Ollama."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    CompleteRequest,
    FinishReason,
    JsonSchemaFormat,
    Message,
    Part,
    ReasoningOptions,
    ResponseFormat,
    Role,
    Tool,
    ToolResult,
)
from inglenook.common.v1 import TargetState
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import CountTokensRequest, GetModelRequest

from tests.support.chat_cluster import SEVERAL_MODELS, ChatStage, asking, chat_staged
from tests.support.ollama_models import Reply, ServedModel, calls, says
from tests.support.ollama_server import CHAT, Seen
from tests.support.polling import LONG_ENOUGH_SECONDS, until
from tests.support.routing import failed
from tests.support.stubs import LIMIT_SECONDS

SCHEMA: Final = '{"type": "object", "properties": {"degrees": {"type": "integer"}}, "required": ["degrees"]}'
WEATHER: Final = Tool(
    name="weather", description="Tells the weather.", parameters_schema='{"type": "object"}'
)

CLAUDE: Final = """
[providers.claude]
type = "anthropic"
api_key = "env:NO_SUCH_KEY_IN_ANY_ENVIRONMENT"
"""


def talk(body: Mapping[str, Any]) -> Reply:
    """Answer as a model that is told the weather by a tool, and gets JSON right at the second try."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return says(f"It is {last['content']}.")
    if body.get("tools"):
        return calls(("weather", {"place": "here"}))
    if "format" in body:
        tried = any(message["role"] == "assistant" for message in body["messages"])
        return says('{"degrees": ', "21}" if tried else '"warm"}')
    if body.get("think"):
        return says("21 degrees.", thinking="It feels warm.")
    if "wait" in last["content"]:
        return Reply(says("It ", "is ", "warm.").lines, hold_after=2)
    return says("It ", "is ", "warm.")


SERVED: Final = (
    ServedModel("talker:1b", talk, ("completion", "tools", "thinking")),
    ServedModel("embedder:latest", capabilities=("embedding",)),
)


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChatStage]:
    """Run a cluster for the tests that leave it as it is."""
    async with chat_staged(tmp_path_factory.mktemp("chat"), SEVERAL_MODELS, *SERVED, more=CLAUDE) as stage:
        yield stage


async def events_of(stage: ChatStage, fields: dict[str, Any]) -> list[ChatEvent]:
    """Return all events of an answer."""
    call = stage.chat.Chat(ChatRequest(**fields), timeout=LIMIT_SECONDS)
    return [event async for event in call]


async def complete(stage: ChatStage, fields: dict[str, Any]) -> ChatResponse:
    """Return an answer in one piece."""
    return await stage.chat.Complete(CompleteRequest(**fields), timeout=LIMIT_SECONDS)


def text_of(events: list[ChatEvent]) -> str:
    """Return the text of an answer."""
    return "".join(event.delta.text for event in events)


async def held(stage: ChatStage, words: str) -> Seen:
    """Wait until the Ollama is asked something with these words, and return that."""

    async def look() -> Seen | None:
        asked = (seen for seen in stage.ollama.seen(CHAT) if words in str(seen.body["messages"]))
        return next(asked, None)

    seen = await until(look)
    assert seen is not None
    return seen


async def test_an_answer_is_streamed_with_who_gave_it_and_what_it_took(stage: ChatStage) -> None:
    """Start, pieces, finish; local models cost nothing, and their tokens are what the Ollama counted."""
    events = await events_of(stage, asking("assistant"))
    start, finish = events[0].start, events[-1].finish
    assert (start.model, start.provider, start.upstream_model) == ("assistant", "ollama", "talker:1b")
    assert text_of(events) == "It is warm."
    assert finish.reason == FinishReason.FINISH_REASON_STOP
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == (9, 5)
    assert finish.HasField("cost")
    assert finish.cost.nano_usd == 0
    assert [(one.provider, one.upstream_model, one.reason) for one in finish.attempts] == [
        ("ollama", "talker:1b", "")
    ]


async def test_an_answer_in_one_piece_is_the_sum_of_the_stream(stage: ChatStage) -> None:
    """Both methods say the same, and the process that answered is named."""
    call = stage.chat.Complete(CompleteRequest(**asking("assistant")), timeout=LIMIT_SECONDS)
    response = await call
    assert response.message == Message(role=Role.ROLE_ASSISTANT, parts=[Part(text="It is warm.")])
    assert (response.model, response.provider, response.upstream_model) == (
        "assistant",
        "ollama",
        "talker:1b",
    )
    trailing = dict(await call.trailing_metadata())
    assert str(trailing["inglenook-served-by"]).startswith("chat@")


async def test_a_tool_is_called_and_its_result_answered(stage: ChatStage) -> None:
    """The assistant's turn goes back as it came, with the result after it."""
    asked = asking("assistant", tools=[WEATHER])
    response = await complete(stage, asked)
    assert response.finish.reason == FinishReason.FINISH_REASON_TOOL_CALLS
    (call,) = (part.tool_call for part in response.message.parts)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"place": "here"})
    result = Part(tool_result=ToolResult(tool_call_id=call.id, content="21 degrees"))
    told = Message(role=Role.ROLE_TOOL, parts=[result])
    again = {**asked, "messages": [*asked["messages"], response.message, told]}
    assert text_of(await events_of(stage, again)) == "It is 21 degrees."


async def test_thoughts_come_apart_from_the_text(stage: ChatStage) -> None:
    """Who wants only the answer can tell them from it."""
    effort = ReasoningOptions(effort=ReasoningOptions.EFFORT_LOW)
    events = await events_of(stage, asking("assistant", reasoning=effort))
    assert "".join(event.delta.reasoning for event in events) == "It feels warm."
    assert text_of(events) == "21 degrees."


async def test_json_fits_its_schema_when_it_arrives(stage: ChatStage) -> None:
    """The first answer does not, and nobody outside sees it."""
    wanted = ResponseFormat(json_schema=JsonSchemaFormat(schema=SCHEMA))
    events = await events_of(stage, asking("assistant", "Degrees?", response_format=wanted))
    assert json.loads(text_of(events)) == {"degrees": 21}
    asked = [seen for seen in stage.ollama.seen(CHAT) if "Degrees?" in str(seen.body["messages"])]
    assert [seen.body["format"] for seen in asked] == [json.loads(SCHEMA)] * 2


async def test_a_model_that_the_ollama_does_not_have_is_told_with_the_command_that_gets_it(
    stage: ChatStage,
) -> None:
    """The public name exists, so this is not MODEL_NOT_FOUND: whoever runs the Ollama can help."""
    for call in (
        stage.chat.Chat(ChatRequest(**asking("absent")), timeout=LIMIT_SECONDS),
        stage.chat.Complete(CompleteRequest(**asking("absent")), timeout=LIMIT_SECONDS),
    ):
        told = await failed(call)
        assert (told.code, told.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "UPSTREAM_MODEL_MISSING",
        )
        assert "ollama pull nothing:1b" in told.message


async def test_what_costs_money_is_not_called_unless_that_is_allowed(stage: ChatStage) -> None:
    """The key that it would need is not even looked up, else the service would not have started."""
    told = await failed(stage.chat.Chat(ChatRequest(**asking("bought")), timeout=LIMIT_SECONDS))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PAID_DISABLED")
    info = (await stage.models.GetModel(GetModelRequest(model="bought"), timeout=LIMIT_SECONDS)).model
    assert [target.state for target in info.target_infos] == [TargetState.TARGET_STATE_DISABLED]


async def test_a_model_that_the_file_does_not_name_can_be_asked_and_asked_about(stage: ChatStage) -> None:
    """As `<provider>/<model>`; what the Ollama does not have there is unknown, and nothing is counted."""
    assert text_of(await events_of(stage, asking("ollama/talker:1b"))) == "It is warm."
    found = await stage.models.GetModel(GetModelRequest(model="ollama/talker:1b"), timeout=LIMIT_SECONDS)
    assert found.model.target_infos[0].state == TargetState.TARGET_STATE_HEALTHY
    missing = GetModelRequest(model="ollama/nothing:1b")
    unknown = await failed(stage.models.GetModel(missing, timeout=LIMIT_SECONDS))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    counting = CountTokensRequest(model="ollama/talker:1b", inputs=["a"])
    assert (await failed(stage.models.CountTokens(counting, timeout=LIMIT_SECONDS))).reason == "NOT_SUPPORTED"


async def test_a_caller_that_leaves_is_felt_by_the_ollama(stage: ChatStage) -> None:
    """Through both services: a model that nobody listens to any more is free again."""
    call = stage.chat.Chat(ChatRequest(**asking("assistant", "wait for nobody")), timeout=LIMIT_SECONDS)
    async for event in call:
        if event.delta.text:
            break  # more is held back
    call.cancel()
    await asyncio.wait_for((await held(stage, "wait for nobody")).left.wait(), LIMIT_SECONDS)


@pytest.mark.parametrize("method", ["Chat", "Complete"])
async def test_a_deadline_goes_all_the_way(stage: ChatStage, method: str) -> None:
    """Whoever notices first: the caller is told on time, and the Ollama is let go."""
    fields = asking("assistant", f"wait until {method}")
    if method == "Chat":
        told = await failed(stage.chat.Chat(ChatRequest(**fields), timeout=LONG_ENOUGH_SECONDS))
    else:
        told = await failed(stage.chat.Complete(CompleteRequest(**fields), timeout=LONG_ENOUGH_SECONDS))
    assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for((await held(stage, f"wait until {method}")).left.wait(), LIMIT_SECONDS)


async def test_embeddings_come_from_an_ollama_where_the_route_leads_to_chat(stage: ChatStage) -> None:
    """Callers of EmbedService need not know who computes; a length that was not promised is refused."""
    response = await stage.ask(EmbedRequest(model="vectors", inputs=["the cat", "a dog"]))
    assert [len(one.values) for one in response.embeddings] == [4, 4]
    assert response.model == "vectors"
    assert sum(value**2 for value in response.embeddings[0].values) == pytest.approx(1)
    assert response.embeddings[0] != response.embeddings[1]
