"""Which models callers can name, over real gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc
from inglenook.chat.v1 import CompleteRequest
from inglenook.common.v1 import ModelState
from inglenook.model.v1 import (
    GetModelRequest,
)

from tests.support.chat_stage import (
    CLOSED,
    chat_model,
    chat_stage,
    embed_model,
    failure_of,
    provider,
    said,
)
from tests.support.listed_models import GEMMA, LLAVA, NOMIC, asked, listed, refused
from tests.support.ollama_server import CHAT, OllamaServer
from tests.support.scraping import scrape

READY: Final = ModelState.MODEL_STATE_READY


async def test_model_that_an_ollama_has_can_be_called_without_the_file_naming_it(tmp_path: Path) -> None:
    """The name that is listed is the name to call it by, and its tag may be left out as at the Ollama."""
    async with OllamaServer(GEMMA, LLAVA) as ollama:
        async with chat_stage(tmp_path, provider("ollama", "ollama", ollama.url)) as stage:
            assert await asked(stage, "ollama/gemma3n:e2b") == "Hello"
            assert await asked(stage, "ollama/llava") == "A cat."
            response = await stage.models.GetModel(GetModelRequest(model="ollama/llava"))
            assert response.model.state == READY
            assert list(await listed(stage)) == ["ollama/gemma3n:e2b", "ollama/llava:latest"]
        assert [seen.body["model"] for seen in ollama.seen(CHAT)] == ["gemma3n:e2b", "llava"]


async def test_name_that_does_not_exist_is_not_found_and_leaves_no_trace(tmp_path: Path) -> None:
    """Neither in metrics nor in the list. What could be pulled is told how; other names are not repeated."""
    names = [f"ollama/never-{number}:1b" for number in range(20)]
    names += ["never-plain", "ollama/", "ollama//x", "ollama/a b", "nobody/m", "ollama/" + "x" * 300]
    async with OllamaServer(GEMMA) as ollama:
        file = chat_model("me", ["ollama/gemma3n:e2b"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            for name in names:
                request = CompleteRequest(model=name, messages=[said("Hi")])
                failure = await failure_of(stage.chat.Complete(request))
                assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
                assert failure.metadata["models"] == "me"
                assert ("ollama pull never" in failure.message) == name.startswith("ollama/never")
                assert "never-plain" not in failure.message
                described = await failure_of(stage.models.GetModel(GetModelRequest(model=name)))
                assert described.reason == "MODEL_NOT_FOUND"
            assert list(await listed(stage)) == ["me"]
            samples = await scrape(stage.process)
        assert ollama.seen(CHAT) == []
    written = " ".join(f"{sample.name} {sample.labels}" for sample in samples)
    assert "never" not in written
    assert {sample.labels["target"] for sample in samples if "target" in sample.labels} == {
        "ollama/gemma3n:e2b"
    }


async def test_model_of_an_ollama_that_costs_money_is_refused_while_nothing_may(tmp_path: Path) -> None:
    """The Ollama is not asked whether it has it, and the list does not wait for it."""
    async with OllamaServer(GEMMA) as ollama:
        file = provider("ollama", "ollama", ollama.url, 'tier = "standard"')
        async with chat_stage(tmp_path, file) as stage:
            assert await refused(stage, "ollama/gemma3n:e2b") == "PAID_DISABLED"
            assert await refused(stage, "ollama/whatever") == "PAID_DISABLED"
            assert await listed(stage) == {}
        assert ollama.requests == []


async def test_ollama_that_is_down_is_said_to_be_down_and_not_to_lack_the_model(tmp_path: Path) -> None:
    """Whether it has it is not known; what the caller wrote is not repeated."""
    async with chat_stage(tmp_path, provider("ollama", "ollama", CLOSED)) as stage:
        request = CompleteRequest(model="ollama/what-i-wrote", messages=[said("Hi")])
        failure = await failure_of(stage.chat.Complete(request))
        described = await failure_of(stage.models.GetModel(GetModelRequest(model="ollama/what-i-wrote")))
    assert failure.reason == described.reason == "UPSTREAM_UNAVAILABLE"
    assert "what-i-wrote" not in failure.message + described.message


async def test_empty_name_means_the_only_chat_model(tmp_path: Path) -> None:
    """Embedding models do not count, nor do models that the file does not name."""
    async with OllamaServer(GEMMA, LLAVA, NOMIC) as ollama:
        end = provider("ollama", "ollama", ollama.url) + embed_model("vec", ["ollama/nomic-embed-text"])
        one = chat_model("one", ["ollama/gemma3n:e2b"])
        async with chat_stage(tmp_path, one + end) as stage:
            assert await asked(stage, "") == "Hello"
            named = await failure_of(stage.models.GetModel(GetModelRequest()))
            assert named.reason == "MODEL_NOT_FOUND"
        async with chat_stage(tmp_path, one + chat_model("two", ["ollama/llava"]) + end) as stage:
            failure = await failure_of(stage.chat.Complete(CompleteRequest(messages=[said("Hi")])))
    assert failure.reason == "INVALID_REQUEST"
    assert [field for field, _ in failure.violations] == ["model"]


async def test_embedding_model_cannot_be_talked_with(tmp_path: Path) -> None:
    """Whether the file names it or only the Ollama has it."""
    async with OllamaServer(NOMIC) as ollama:
        file = embed_model("vec", ["ollama/nomic-embed-text"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file) as stage:
            assert await refused(stage, "vec") == "WRONG_CAPABILITY"
            assert await refused(stage, "ollama/nomic-embed-text") == "WRONG_CAPABILITY"
            assert list(await listed(stage)) == ["vec"]
