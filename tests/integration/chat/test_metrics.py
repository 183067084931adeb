"""What Prometheus sees of the chat service, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from inglenook.chat.v1 import ChatRequest, CompleteRequest

from services.chassis.process import ServiceProcess
from tests.support.chat_stage import (
    ChatStage,
    chat_model,
    chat_stage,
    failure_of,
    provider,
    said,
    silent_server,
    told,
)
from tests.support.ollama_models import ServedModel, says
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import Reply, openai_server
from tests.support.polling import until
from tests.support.scraping import Sample, scrape, total

LOCAL: Final = 'tier = "local"'
PREFIX: Final = "inglenook_chat_"
QUESTION: Final = [said("Hi")]


async def chat_samples(process: ServiceProcess) -> list[Sample]:
    """Return the samples of the chat service, without the times at which series began."""
    return [
        one
        for one in await scrape(process)
        if one.name.startswith(PREFIX) and not one.name.endswith(("_created", "_bucket"))
    ]


def values(sample: Sample) -> list[str]:
    """Return the values of the labels, the target's first."""
    return [value for _, value in sorted(sample.labels.items(), reverse=True)]


async def counted(process: ServiceProcess) -> dict[str, float]:
    """Return what is counted, as `name{values of labels}` without the prefix, without zeros and times."""
    return {
        f"{one.name.removeprefix(PREFIX)}{{{','.join(values(one))}}}": one.value
        for one in await chat_samples(process)
        if one.value and not one.name.endswith("_sum") and "target_state" not in one.name
    }


async def states(stage: ChatStage) -> Mapping[str, str]:
    """Return the state of each target."""
    return {
        one.labels["target"]: one.labels["state"]
        for one in await chat_samples(stage.process)
        if one.name == PREFIX + "target_state" and one.value == 1
    }


async def test_every_series_counts_what_it_says(tmp_path: Path) -> None:
    """One answer after a retry and a fallback, with labels of the targets that the file names."""
    async with openai_server() as first, openai_server() as second:
        file = (
            chat_model("talk", ["first/m", "second/n"])
            + provider("first", "openai-compatible", first.url, LOCAL)
            + provider("second", "openai-compatible", second.url, 'tier = "standard"')
            + '[targets."second/n"]\ninput_usd = 1000\noutput_usd = 1000\n'
            + "[chat]\nmax_retries = 1\nbackoff_seconds = 0.01\n"
            + '[paid]\nenabled = true\nledger = "spending.sqlite3"\n'
        )
        first.replies = [Reply(b"{}", 503), Reply(b"{}", 503)]
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            await told(stage.chat.Chat(ChatRequest(messages=QUESTION)))
            found = await counted(stage.process)
    assert found == {
        "attempts_total{first/m,UPSTREAM_UNAVAILABLE}": 2,
        "attempts_total{second/n,OK}": 1,
        "attempt_seconds_count{first/m}": 2,
        "attempt_seconds_count{second/n}": 1,
        "first_token_seconds_count{second/n}": 1,
        "retries_total{first/m,UPSTREAM_UNAVAILABLE}": 1,
        "fallbacks_total{first/m,UPSTREAM_UNAVAILABLE}": 1,
        "tokens_total{second/n,input}": 9,
        "tokens_total{second/n,output}": 2,
        "cost_usd_total{second/n}": pytest.approx(0.011),
        "overhead_seconds_count{}": 1,
    }


async def test_attempt_that_nobody_waits_for_is_counted_as_cancelled(tmp_path: Path) -> None:
    """It says nothing about the target."""
    async with silent_server() as silence:
        file = chat_model("talk", ["slow/m"]) + provider("slow", "openai-compatible", silence.url, LOCAL)
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            call = stage.chat.Complete(CompleteRequest(messages=QUESTION))
            await silence.heard.wait()
            call.cancel()

            async def cancelled() -> bool:
                wanted = {"target": "slow/m", "outcome": "CANCELLED"}
                return await total(stage.process, PREFIX + "attempts_total", **wanted) == 1

            await until(cancelled)
            assert await states(stage) == {"slow/m": "healthy"}


async def test_models_that_callers_name_share_one_label(tmp_path: Path) -> None:
    """However many there are, and however they are spelled; those of the file have their own."""
    models = [ServedModel(f"model-{number}:latest", says("Hi")) for number in range(5)]
    async with OllamaServer(*models) as ollama:
        file = chat_model("talk", ["ollama/model-0"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            for name in ("talk", "ollama/model-0", "ollama/model-0:latest"):
                await stage.chat.Complete(CompleteRequest(model=name, messages=QUESTION))
            before = {(one.name, *values(one)) for one in await chat_samples(stage.process)}
            for number in range(1, 5):
                for name in (f"ollama/model-{number}", f"ollama/model-{number}:latest"):
                    await stage.chat.Complete(CompleteRequest(model=name, messages=QUESTION))
            after = {(one.name, *values(one)) for one in await chat_samples(stage.process)}
            named = await total(stage.process, PREFIX + "attempts_total", target="ollama/model-0")
            others = await total(stage.process, PREFIX + "attempts_total", target="discovered")
    assert (named, others) == (3, 8)
    assert {labels[1] for labels in after - before} == {"discovered"}
    assert {labels[1] for labels in after if len(labels) > 1} == {"ollama/model-0", "discovered"}


async def test_state_of_a_target_follows_its_breaker(tmp_path: Path) -> None:
    """Exactly one state is 1; time alone brings it from ejected to probing."""
    async with openai_server() as server, openai_server() as busy:
        file = (
            chat_model("talk", ["home/m"])
            + chat_model("other", ["busy/m"])
            + provider("home", "openai-compatible", server.url, LOCAL)
            + provider("busy", "openai-compatible", busy.url, LOCAL)
            + "[chat]\nejection_failures = 1\nejection_seconds = 0.4\nmax_retries = 0\nmax_wait_seconds = 0\n"
        )
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            assert await states(stage) == {"home/m": "healthy", "busy/m": "healthy"}
            busy.replies = [Reply(b"{}", 429, headers={"retry-after": "60"})]
            server.replies = [Reply(b"{}", 500)]
            for model in ("talk", "other"):
                await failure_of(stage.chat.Complete(CompleteRequest(model=model, messages=QUESTION)))
            assert await states(stage) == {"home/m": "ejected", "busy/m": "cooling"}

            async def probing() -> bool:
                return (await states(stage))["home/m"] == "probing"

            await until(probing)
            await stage.chat.Complete(CompleteRequest(model="talk", messages=QUESTION))
            assert (await states(stage))["home/m"] == "healthy"
            shown = [one for one in await chat_samples(stage.process) if "target_state" in one.name]
    assert len(shown) == 8
    assert sum(one.value for one in shown) == 2


async def test_calls_at_a_time_are_counted_each(tmp_path: Path) -> None:
    """Streams and answers in one piece alike."""
    async with openai_server() as server:
        file = chat_model("talk", ["home/m"]) + provider("home", "openai-compatible", server.url, LOCAL)
        async with chat_stage(tmp_path, file, metrics=True) as stage:
            streams = [told(stage.chat.Chat(ChatRequest(messages=QUESTION))) for _ in range(5)]
            await asyncio.gather(*streams)
            for _ in range(5):
                await stage.chat.Complete(CompleteRequest(messages=QUESTION))
            found = await counted(stage.process)
    assert found["attempts_total{home/m,OK}"] == 10
    assert found["overhead_seconds_count{}"] == 10
    assert (found["tokens_total{home/m,input}"], found["tokens_total{home/m,output}"]) == (90, 20)
