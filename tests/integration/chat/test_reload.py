"""The chat service follows its file: calls in flight keep what they have, unless it costs what it may not."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from inglenook.chat.v1 import CompleteRequest
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import ListModelsRequest

from services.chassis.reload import ReloadRefused
from tests.support.chat_stage import (
    LIMIT_SECONDS,
    ROUTES,
    ChatStage,
    chat_model,
    chat_stage,
    failure_of,
    provider,
    said,
)
from tests.support.openai_server import OpenAiServer, Reply, openai_server
from tests.support.polling import until

LOCAL: Final = 'tier = "local"\n'
PAID: Final = 'tier = "standard"\n'
BUSY: Final = Reply(b"{}", 503, headers={"retry-after": "2"})


def ask(stage: ChatStage, model: str = "talk") -> CompleteRequest:
    """Begin a call."""
    del stage
    return CompleteRequest(model=model, messages=[said("Hi")])


async def reload(stage: ChatStage, folder: Path, configuration: str) -> bool:
    """Put another configuration in force."""
    (folder / "inglenook.toml").write_text(configuration + ROUTES, encoding="utf-8")
    return await stage.process.reloader.reload()


def compatible(name: str, server: OpenAiServer, more: str) -> str:
    """Return the section of a provider."""
    return provider(name, "openai-compatible", server.url, more)


async def heard(server: OpenAiServer, count: int = 1) -> None:
    """Wait until a server has been asked so many times."""

    async def look() -> bool:
        return len(server.requests) >= count

    await until(look)


async def text_of(stage: ChatStage, model: str = "talk") -> str:
    """Return what a model answers."""
    response = await stage.chat.Complete(ask(stage, model), timeout=LIMIT_SECONDS)
    return "".join(part.text for part in response.message.parts)


async def test_a_call_in_flight_keeps_its_provider_and_the_next_one_gets_the_new(tmp_path: Path) -> None:
    """The connections of the old one are closed when its last call has ended, and it is forgotten."""
    slow = OpenAiServer(["old ", "answer"], first_seconds=0.5)
    async with openai_server(slow) as old, openai_server(OpenAiServer(["new"])) as new:
        before = chat_model("talk", ["one/m"]) + compatible("one", old, LOCAL)
        async with chat_stage(tmp_path, before) as stage:
            wirings = wirings_of(stage)
            first = wirings()
            asked = asyncio.create_task(text_of(stage))
            await heard(old)
            assert await reload(
                stage, tmp_path, chat_model("talk", ["two/m"]) + compatible("two", new, LOCAL)
            )
            assert await text_of(stage) == "new"
            assert not asked.done()
            assert await asked == "old answer"

            async def forgotten() -> bool:
                gc.collect()
                return first() is None

            await until(forgotten)


def wirings_of(stage: ChatStage) -> Callable[[], weakref.ref[object]]:
    """Return what gives a weak reference to the wiring in force."""
    application = stage.process._application
    return lambda: weakref.ref(application._current.wiring)  # type: ignore[attr-defined]  # the test looks inside


async def test_a_provider_that_has_not_changed_stays_connected_and_remembered(tmp_path: Path) -> None:
    """With its breaker: a target that was ejected is not tried again because a file was touched."""
    async with openai_server() as server:
        text = chat_model("talk", ["one/m"]) + compatible("one", server, LOCAL)
        async with chat_stage(tmp_path, text) as stage:
            current = stage.process._application._current  # type: ignore[attr-defined]  # the test looks inside
            before = current.wiring
            await reload(stage, tmp_path, text + chat_model("more", ["one/n"]))
            after = current.wiring
            assert after is not before
            assert after.providers["one"] is before.providers["one"]
            assert after.models.known["one", "m"].breaker is before.models.known["one", "m"].breaker
            assert await text_of(stage, "more")


async def test_a_changed_file_with_a_key_is_read_again(tmp_path: Path) -> None:
    """Whoever changes a key touches the configuration, too, or sends it again."""
    key = tmp_path / "key"
    key.write_text("first", encoding="utf-8")
    async with openai_server() as server:
        text = chat_model("talk", ["one/m"]) + compatible("one", server, f'{LOCAL}api_key = "file:{key}"\n')
        async with chat_stage(tmp_path, text) as stage:
            await text_of(stage)
            key.write_text("second", encoding="utf-8")
            await reload(stage, tmp_path, text + "# another key\n")
            await text_of(stage)
        assert [one.headers["authorization"] for one in server.requests] == ["Bearer first", "Bearer second"]


async def test_once_paid_is_off_nothing_more_is_sent_to_a_paid_provider(tmp_path: Path) -> None:
    """Neither for new calls nor for those in flight that would try again; what was sent may be answered."""
    slow = OpenAiServer(["worth ", "it"], first_seconds=0.5)
    async with openai_server() as busy, openai_server(slow) as answering:
        busy.replies = [BUSY]
        models = chat_model("talk", ["one/m"]) + chat_model("other", ["two/m"])
        providers = compatible("one", busy, PAID) + compatible("two", answering, PAID)
        more = "".join(
            f'[targets."{name}/m"]\ninput_usd = 1.0\noutput_usd = 1.0\n' for name in ("one", "two")
        )
        text = models + providers + more
        paid = '[paid]\nenabled = true\nledger = "spent.sqlite3"\n'
        async with chat_stage(tmp_path, text + paid) as stage:
            retrying = asyncio.create_task(failure_of(stage.chat.Complete(ask(stage), timeout=LIMIT_SECONDS)))
            sent = asyncio.create_task(text_of(stage, "other"))
            await heard(busy)
            await heard(answering)
            await reload(stage, tmp_path, text)
            refused = await failure_of(stage.chat.Complete(ask(stage, "other"), timeout=LIMIT_SECONDS))
            assert refused.reason == "PAID_DISABLED"
            assert await sent == "worth it"
            assert "PAID_DISABLED" in (await retrying).metadata["skipped"]
        assert len(busy.requests) == 1
        assert len(answering.requests) == 1


async def test_a_configuration_without_its_key_changes_nothing(tmp_path: Path) -> None:
    """The old one goes on answering, and the status says why."""
    async with openai_server() as server:
        text = chat_model("talk", ["one/m"]) + compatible("one", server, LOCAL)
        async with chat_stage(tmp_path, text) as stage:
            broken = text.replace(LOCAL, f'{LOCAL}api_key = "file:{tmp_path}/nothing"\n')
            with pytest.raises(ReloadRefused):
                await reload(stage, tmp_path, broken)
            assert await text_of(stage)
            listed = await stage.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
            assert listed.config.last_error


async def test_embedding_models_come_and_go_with_the_file(tmp_path: Path) -> None:
    """The error of a call for one that is gone is that for any unknown model."""
    async with openai_server() as server:
        text = chat_model("talk", ["one/m"]) + compatible("one", server, LOCAL)
        vectors = '[models.vec]\ncapability = "embed"\ntargets = ["one/m"]\n'
        request = EmbedRequest(model="vec", inputs=["Hi"])
        async with chat_stage(tmp_path, text) as stage:
            assert (await failure_of(stage.embed.Embed(request))).reason == "MODEL_NOT_FOUND"
            await reload(stage, tmp_path, vectors + text)
            assert (await stage.embed.Embed(request, timeout=LIMIT_SECONDS)).embeddings
            await reload(stage, tmp_path, text)
            assert (await failure_of(stage.embed.Embed(request))).reason == "MODEL_NOT_FOUND"
