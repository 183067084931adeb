"""Answers in a format, from models that do not care: what fits is passed on, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import (
    ChatRequest,
    CompleteRequest,
    JsonFormat,
    JsonSchemaFormat,
    ResponseFormat,
    TextFormat,
)

from services.chassis.testing import FailedCall, read_failure
from tests.support.chat_stage import ChatStage, Told, chat_model, chat_stage, provider, said, told
from tests.support.ollama_models import Reply, ServedModel, says
from tests.support.ollama_server import CHAT, OllamaServer
from tests.support.openai_server import EVENTS, OpenAiServer, openai_server
from tests.support.openai_server import Reply as OpenAiReply

METHODS: Final = ("Chat", "Complete")
SCHEMA: Final = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
BY_SCHEMA: Final = ResponseFormat(json_schema=JsonSchemaFormat(schema=json.dumps(SCHEMA)))
JSON: Final = ResponseFormat(json=JsonFormat())
SECRET: Final = "what the model wrote"
MISFITS: Final = {
    "prose": f"Sure! {SECRET}.",
    "cut off": '{"a": 1, "',
    "another type": '{"a": "one"}',
    "another field": '{"a": 1, "b": 2}',
    "nothing": " ",
    "no JSON number": '{"a": NaN}',
    "more behind it": '{"a": 1} {"a": 2}',
}


async def asked(
    stage: ChatStage, method: str, wanted: ResponseFormat, model: str = "one"
) -> tuple[str | None, Told, FailedCall | None]:
    """Return the text of an answer, the events that came, and the failure."""
    fields: dict[str, Any] = {"model": model, "messages": [said("Hi")], "response_format": wanted}
    whole = Told()
    try:
        if method == "Chat":
            async for event in stage.chat.Chat(ChatRequest(**fields)):
                whole.events.append(event)
            replayed = await told(_events(whole))
            return "".join(part.text for part in replayed.message.parts), whole, None
        response = await stage.chat.Complete(CompleteRequest(**fields))
        return "".join(part.text for part in response.message.parts), whole, None
    except grpc.aio.AioRpcError as error:
        return None, whole, read_failure(error)


async def _events(whole: Told) -> Any:
    for event in whole.events:
        yield event


def one(url: str, kind: str = "ollama") -> str:
    """Return the configuration of one model."""
    return chat_model("one", ["home/m:1b"]) + provider(
        "home", kind, url, 'tier = "local"' if kind != "ollama" else ""
    )


@pytest.mark.parametrize("text", MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize("method", METHODS)
async def test_answer_that_never_fits_is_an_error_after_one_repair(
    method: str, text: str, tmp_path: Path
) -> None:
    """Nothing of it is passed on, by no way: not as an event, not in the message of the error."""
    async with OllamaServer(ServedModel("m:1b", says(text))) as ollama:
        async with chat_stage(tmp_path, one(ollama.url)) as stage:
            answer, events, failure = await asked(stage, method, BY_SCHEMA)
        first, second = ollama.seen(CHAT)
    assert (answer, events.events) == (None, [])
    assert failure is not None
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INVALID_OUTPUT")
    assert SECRET not in f"{failure.message} {failure.metadata}"
    assert failure.metadata["attempts"].count("INVALID_OUTPUT") == 2
    assert first.body["format"] == second.body["format"] == SCHEMA
    assert len(second.body["messages"]) > len(first.body["messages"])


@pytest.mark.parametrize("method", METHODS)
async def test_answer_that_does_not_fit_is_shown_to_the_model_once(method: str, tmp_path: Path) -> None:
    """The second one is passed on as if it were the first; both attempts are told of."""

    def answer(body: Mapping[str, Any]) -> Reply:
        return says('{"a"', ": 1}") if len(body["messages"]) > 1 else says(MISFITS["another type"])

    async with OllamaServer(ServedModel("m:1b", answer)) as ollama:
        async with chat_stage(tmp_path, one(ollama.url)) as stage:
            text, events, _ = await asked(stage, method, BY_SCHEMA)
        [_, second] = ollama.seen(CHAT)
    assert text == '{"a": 1}'
    shown = [turn["content"] for turn in second.body["messages"]]
    assert MISFITS["another type"] in shown
    if method == "Chat":
        kinds = [event.WhichOneof("event") for event in events.events]
        assert (kinds[0], kinds[-1], kinds.count("start")) == ("start", "finish", 1)
        assert [one.reason for one in events.events[-1].finish.attempts] == ["INVALID_OUTPUT", ""]


@pytest.mark.parametrize("method", METHODS)
async def test_number_of_repairs_is_that_of_the_configuration(method: str, tmp_path: Path) -> None:
    """None is allowed as well."""
    async with OllamaServer(ServedModel("m:1b", says("prose"))) as ollama:
        for number in (0, 2):
            ollama.requests.clear()
            file = one(ollama.url) + f"[chat]\nmax_repairs = {number}\n"
            async with chat_stage(tmp_path, file) as stage:
                _, _, failure = await asked(stage, method, BY_SCHEMA)
            assert failure is not None
            assert failure.reason == "INVALID_OUTPUT"
            assert len(ollama.seen(CHAT)) == number + 1


@pytest.mark.parametrize("method", METHODS)
async def test_fence_around_the_json_is_taken_away(method: str, tmp_path: Path) -> None:
    """It needs no second attempt."""
    async with openai_server(OpenAiServer(["```json\n", '{"a": 1}', "\n```"])) as server:
        async with chat_stage(tmp_path, one(server.url, "openai-compatible")) as stage:
            text, _, _ = await asked(stage, method, BY_SCHEMA)
            loose, _, _ = await asked(stage, method, JSON)
        assert len(server.requests) == 2
    assert text == loose == '{"a": 1}'


@pytest.mark.parametrize("method", METHODS)
async def test_any_json_is_json_and_prose_is_not(method: str, tmp_path: Path) -> None:
    """Without a schema a value of any type fits."""
    async with (
        openai_server(OpenAiServer(["[1, ", "2]"])) as server,
        chat_stage(tmp_path, one(server.url, "openai-compatible")) as stage,
    ):
        text, _, _ = await asked(stage, method, JSON)
        server.pieces = ["As you ", "wish"]
        nothing, events, failure = await asked(stage, method, JSON)
        prose, _, _ = await asked(stage, method, ResponseFormat(text=TextFormat()))
    assert text == "[1, 2]"
    assert (nothing, events.events) == (None, [])
    assert failure is not None
    assert failure.reason == "INVALID_OUTPUT"
    assert prose == "As you wish"


@pytest.mark.parametrize("method", METHODS)
async def test_answer_that_was_cut_off_is_not_called_complete(method: str, tmp_path: Path) -> None:
    """Not even if what there is of it happens to fit; another attempt would be cut off as well."""
    async with OllamaServer(ServedModel("m:1b", says('{"a": 1}', reason="length"))) as ollama:
        async with chat_stage(tmp_path, one(ollama.url)) as stage:
            _, events, failure = await asked(stage, method, BY_SCHEMA)
        assert len(ollama.seen(CHAT)) == 1
    assert events.events == []
    assert failure is not None
    assert failure.reason == "INVALID_OUTPUT"


@pytest.mark.parametrize("method", METHODS)
async def test_answer_that_breaks_off_is_asked_for_again_and_nothing_of_it_is_seen(
    method: str, tmp_path: Path
) -> None:
    """An answer in a format is held back, so a break in its middle is no harm, in a stream neither."""
    broken = b'data: {"choices":[{"index":0,"delta":{"content":"{\\"a\\": "},"finish_reason":null}]}\n\n'
    async with openai_server(OpenAiServer(['{"a": ', "7}"])) as server:
        file = one(server.url, "openai-compatible") + "[chat]\nbackoff_seconds = 0.01\n"
        async with chat_stage(tmp_path, file) as stage:
            server.replies = [OpenAiReply(broken, content_type=EVENTS)]
            text, events, _ = await asked(stage, method, BY_SCHEMA)
        assert len(server.requests) == 2
    assert text == '{"a": 7}'
    assert sum(event.WhichOneof("event") == "start" for event in events.events) == (method == "Chat")
