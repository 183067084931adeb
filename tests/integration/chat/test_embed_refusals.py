"""Embeddings that there are none of: who is told what, who is not asked, and who pays, over real gRPC."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest

from tests.support.chat_stage import (
    CLOSED,
    KEY_VARIABLE,
    LIMIT_SECONDS,
    chat_model,
    chat_stage,
    embed_model,
    failure_of,
    provider,
    silent_server,
)
from tests.support.embed_calls import LOCAL, embedded, refused, two
from tests.support.lag import measured_lag
from tests.support.ollama_models import ServedModel
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import Reply, openai_server
from tests.support.scraping import total

NOMIC: Final = ServedModel("nomic-embed-text:latest", capabilities=("embedding",), dimensions=4)
PAID: Final = 'tier = "standard"\nmax_concurrent_requests = 4'
FELT_SECONDS: Final = 0.25


async def test_text_that_is_too_long_is_refused_and_named(tmp_path: Path) -> None:
    """It is never cut. The field is the one that embedding has."""
    body = b'{"error":{"message":"too long","code":"context_length_exceeded","type":"invalid_request_error"}}'
    async with openai_server() as first, openai_server() as second:
        first.replies, second.replies = [Reply(body, 400)], [Reply(body, 400)]
        async with chat_stage(tmp_path, two(first.url, second.url)) as stage:
            failure = await refused(stage, ["long"])
    assert failure.reason == "INPUT_TOO_LONG"
    assert [field for field, _ in failure.violations] == ["inputs"]


INVALID: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "no inputs": ({"inputs": []}, ["inputs"]),
    "too many": ({"inputs": ["x"] * 1025}, ["inputs"]),
    "empty ones": ({"inputs": ["x", "", " \n"]}, ["inputs[1]", "inputs[2]"]),
    "too long": ({"inputs": ["x" * 1_000_001]}, ["inputs[0]"]),
    "no components": ({"inputs": ["x"], "dimensions": 0}, ["dimensions"]),
    "more components than there are": ({"inputs": ["x"], "dimensions": 5}, ["dimensions"]),
    "cutting": ({"inputs": ["x"], "truncation": Truncation.TRUNCATION_RIGHT}, ["truncation"]),
    "several": (
        {"inputs": [""], "dimensions": -1, "truncation": Truncation.TRUNCATION_LEFT},
        ["truncation", "inputs[0]", "dimensions"],
    ),
}


@pytest.mark.parametrize(("fields", "paths"), INVALID.values(), ids=INVALID)
async def test_invalid_request_is_refused_with_all_that_is_wrong(
    fields: dict[str, Any], paths: list[str], tmp_path: Path
) -> None:
    """Before anybody is asked."""
    async with openai_server() as server:
        async with chat_stage(tmp_path, two(server.url, CLOSED, model="dimensions = 4")) as stage:
            failure = await refused(stage, **fields)
        assert server.requests == []
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [field for field, _ in failure.violations] == paths


async def test_more_components_than_there_are_cannot_be_kept(tmp_path: Path) -> None:
    """Where the file does not say how many there are, the answer does."""
    async with openai_server() as server, chat_stage(tmp_path, two(server.url, CLOSED)) as stage:
        failure = await refused(stage, ["x"], dimensions=5)
    assert (failure.reason, failure.violations[0][0]) == ("INVALID_REQUEST", "dimensions")


async def test_names_of_models_are_looked_up_as_for_chat(tmp_path: Path) -> None:
    """Unknown ones, those of chat models, and none where there are several."""
    async with OllamaServer(NOMIC) as ollama:
        file = (
            embed_model("one", ["ollama/nomic-embed-text"])
            + embed_model("two", ["ollama/nomic-embed-text"])
            + chat_model("talk", ["ollama/gemma3n:e2b"])
            + provider("ollama", "ollama", ollama.url)
        )
        async with chat_stage(tmp_path, file) as stage:
            reasons = [
                (await refused(stage, ["x"], model=name)).reason
                for name in ("nobody", "talk", "", "ollama/nomic-embed-text")
            ]
    assert reasons == ["MODEL_NOT_FOUND", "WRONG_CAPABILITY", "INVALID_REQUEST", "MODEL_NOT_FOUND"]


async def test_paid_target_hears_nothing_while_paid_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its key is read; a cloud model of an Ollama is as paid as any."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    cloud = ServedModel("remote:latest", capabilities=("embedding",), remote_host="far away")
    async with openai_server() as paid, OllamaServer(cloud) as ollama:
        key = f'api_key = "env:{KEY_VARIABLE}"'
        file = (
            embed_model("vec", ["paid/m", "ollama/remote", "down/m"])
            + provider("paid", "openai", paid.url, key)
            + provider("ollama", "ollama", ollama.url)
            + provider("down", "openai-compatible", CLOSED, LOCAL)
            + embed_model("dear", ["paid/m", "ollama/remote"])
            + "[chat]\nbackoff_seconds = 0.01\n"
        )
        async with chat_stage(tmp_path, file) as stage:
            down = await refused(stage, ["x"], model="vec")
            dear = await refused(stage, ["x"], model="dear")
        assert paid.requests == []
        assert ollama.seen("/api/embed") == []
    assert down.reason == "UPSTREAM_UNAVAILABLE"
    assert (dear.code, dear.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PAID_DISABLED")


async def test_embeddings_count_against_the_budget(tmp_path: Path) -> None:
    """What they cost is counted exactly; a call that could exceed what is left is not made."""
    async with openai_server() as server:
        file = (
            embed_model("vec", ["paid/m"])
            + provider("paid", "openai-compatible", server.url, PAID)
            + '[targets."paid/m"]\ninput_usd = 1000\noutput_usd = 0\n'
            + '[paid]\nenabled = true\nmonthly_budget_usd = 4\nledger = "spending.sqlite3"\n'
        )
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            server.replies = [Reply(b'{"data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":2500}}')]
            await embedded(stage, ["x"])
            failure = await refused(stage, ["x"])
            cost = await total(stage.process, "inglenook_chat_cost_usd_total", target="paid/m")
            attempts = await total(stage.process, "inglenook_chat_attempts_total", target="paid/m")
        assert len(server.requests) == 1
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
    assert cost == pytest.approx(2.5)
    assert attempts == 1


@pytest.mark.parametrize("kind", ["openai-compatible", "ollama"])
async def test_caller_that_leaves_is_felt_at_the_provider(kind: str, tmp_path: Path) -> None:
    """At once, and nobody else is asked."""
    async with silent_server() as silence, openai_server() as second:
        file = (
            embed_model("vec", ["first/m", "second/m"])
            + provider("first", kind, silence.url, LOCAL)
            + provider("second", "openai-compatible", second.url, LOCAL)
        )
        async with chat_stage(tmp_path, file) as stage, measured_lag() as lag:
            call = stage.embed.Embed(EmbedRequest(inputs=["x"]), timeout=LIMIT_SECONDS)
            await silence.heard.wait()
            left_at = time.monotonic()
            call.cancel()
            if kind == "openai-compatible":  # what an Ollama knows is asked for all callers together
                await asyncio.wait_for(silence.left.wait(), LIMIT_SECONDS)
                assert time.monotonic() - left_at < FELT_SECONDS + lag.seconds
        assert second.requests == []


async def test_deadline_of_the_caller_ends_the_call(tmp_path: Path) -> None:
    """No other target is asked after it."""
    async with silent_server() as silence, openai_server() as second:
        async with chat_stage(tmp_path, two(silence.url, second.url)) as stage:
            failure = await failure_of(stage.embed.Embed(EmbedRequest(inputs=["x"]), timeout=0.3))
            await asyncio.wait_for(silence.left.wait(), LIMIT_SECONDS)
        assert second.requests == []
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
