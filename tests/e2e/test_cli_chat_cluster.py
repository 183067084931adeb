"""The tool `inglenook` against a cluster that chats, and where there is nobody to chat with."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from services.cli.commands.demo.texts import QUESTION
from services.config import ConfigurationFile
from tests.support import tool
from tests.support.chat_cluster import ChatStage, chat_staged, write_chat_cluster
from tests.support.configuration import free_addresses
from tests.support.ollama_models import Reply, ServedModel, says
from tests.support.ollama_server import CHAT, OllamaServer
from tests.support.tool import SECONDS

MODELS: Final = """
[models.assistant]
capability = "chat"
targets = ["ollama/talker:1b", "ollama/nothing:1b"]

[models.vectors]
capability = "embed"
targets = ["ollama/embedder"]
"""
ANSWER: Final = "Bank the embers with ash."
TALKER: Final = ServedModel("talker:1b", says("Bank the ", "embers ", "with ash."))
EMBEDDER: Final = ServedModel("embedder:latest", capabilities=("embedding",))


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChatStage]:
    """Run a cluster whose Ollama has a model to talk with and one to embed with."""
    async with chat_staged(tmp_path_factory.mktemp("chat"), MODELS, TALKER, EMBEDDER) as stage:
        yield stage


async def shown(file: ConfigurationFile, *arguments: str) -> str:
    """Run the tool, which must succeed, and return what it printed."""
    done = await asyncio.to_thread(tool.run, file, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def answer(file: ConfigurationFile, *arguments: str) -> Any:
    """Run the tool with --json and return the document."""
    return await asyncio.to_thread(tool.answer, file, *arguments)


def words(text: str) -> list[list[str]]:
    """Return the words of each line."""
    return [line.split() for line in text.splitlines()]


async def test_status_shows_that_chat_is_there(stage: ChatStage) -> None:
    """Its backend is healthy whether or not a provider can be reached; and it embeds here as well."""
    listen = stage.replicas_of("chat")[0].listen
    lines = words(await shown(stage.cluster.file, "status"))
    assert ["chat", "yes", "1", "of", "1", "0"] in lines
    assert ["embed", "yes", "1", "of", "1", "0"] in lines
    assert ["chat", listen, "healthy"] in [line[:3] for line in lines]


async def test_models_are_listed_with_how_each_target_is(stage: ChatStage) -> None:
    """A line for each target where there are several, and what to do about one that is missing."""
    lines = words(await shown(stage.cluster.file, "models", "list"))[1:]
    assert lines[:2] == [["assistant", "chat", "ready", "8192"], ["healthy", "ollama/talker:1b"]]
    assert lines[2][:2] == ["unreachable", "ollama/nothing:1b"]
    assert lines[2][-3:] == ["ollama", "pull", "nothing:1b"]
    assert lines[3:] == [["vectors", "embed", "ready", "8192", "ollama/embedder"]]
    (listed,) = (await answer(stage.cluster.file, "models", "list", "--capability", "chat"))["models"]
    assert [one["state"] for one in listed["targetInfos"]] == [
        "TARGET_STATE_HEALTHY",
        "TARGET_STATE_UNREACHABLE",
    ]


async def test_info_tells_what_a_target_can_do(stage: ChatStage) -> None:
    """Of a model in the file, and of one that only the Ollama names."""
    for name in ("assistant", "ollama/talker:1b"):
        told = await shown(stage.cluster.file, "models", "info", name)
        assert "ollama/talker:1b healthy, 8,192 tokens, tools, JSON schema" in told


async def test_chat_prints_the_answer(stage: ChatStage) -> None:
    """One question, one answer, and nothing else on standard output."""
    asked = ("chat", "How do I keep a fire going?", "--model", "assistant")
    assert await shown(stage.cluster.file, *asked) == f"{ANSWER}\n"


async def test_demo_chats_with_the_first_model_of_the_file(stage: ChatStage) -> None:
    """The question, the answer, and who gave it, with tokens and times; embeddings come from there, too."""
    document = await answer(stage.cluster.file, "demo")
    told = await shown(stage.cluster.file, "demo")
    assert f"chat  a model answers: {QUESTION}\n\n{ANSWER}\n" in told
    assert "assistant, ollama/talker:1b, 9 + 5 tokens, $0, first token " in told
    assert document["chat"]["request"]["messages"][0]["parts"] == [{"text": QUESTION}]
    assert document["chat"]["message"]["parts"] == [{"text": ANSWER}]
    assert document["chat"]["start"]["upstreamModel"] == "talker:1b"
    assert document["chat"]["finish"]["usage"]["outputTokens"] == "5"
    assert document["embed"]["query"]["servedBy"].startswith("chat@")  # the second time it is the router
    assert document["leftOut"] == ["rerank", "nli"]


async def test_demo_starts_the_chat_service_and_says_what_to_install_where_no_ollama_answers(
    tmp_path: Path,
) -> None:
    """That is no failure: language models are no part of the cluster. One line tells how to get one."""
    (nobody,) = free_addresses(1)
    file = write_chat_cluster(tmp_path, one_model("gemma3n:e2b"), f"http://{nobody}")
    line = f"no Ollama answers at http://{nobody}; install it from ollama.com, then: ollama pull gemma3n:e2b"
    told = await shown(file, "demo")
    assert "(started for this demo)" in told
    assert f"\nchat  {line}\n" in told
    assert (await answer(file, "demo"))["chat"]["problem"] == line


def one_model(upstream_model: str) -> str:
    """Return the section of a model that an Ollama should have."""
    return f'[models.assistant]\ncapability = "chat"\ntargets = ["ollama/{upstream_model}"]\n'


async def test_demo_says_what_to_pull_where_the_ollama_does_not_have_the_model(tmp_path: Path) -> None:
    """With the command; what the Ollama has besides would be asked, but here it only embeds."""
    async with chat_staged(tmp_path, one_model("gemma3n:e2b"), EMBEDDER) as stage:
        told = await shown(stage.cluster.file, "demo")
    (line,) = (line for line in told.splitlines() if line.startswith("chat  ollama"))
    assert line.startswith("chat  ollama/gemma3n:e2b: ")
    assert line.endswith("ollama pull gemma3n:e2b")


async def test_demo_chats_with_what_the_ollama_has_if_that_is_not_what_the_file_names(
    tmp_path: Path,
) -> None:
    """Nobody has to download gigabytes to see an answer; a model that thinks is asked not to."""
    thinker = ServedModel("thinker:1b", TALKER.answer, ("completion", "thinking"))
    async with chat_staged(tmp_path, one_model("gemma3n:e2b"), thinker) as stage:
        told = await shown(stage.cluster.file, "demo")
        (asked,) = stage.ollama.seen(CHAT)
    assert f"{ANSWER}\n" in told
    assert "ollama/thinker:1b" in told
    assert asked.body["think"] is False


async def test_demo_does_not_wait_for_a_model_for_ever(tmp_path: Path) -> None:
    """What has come so far stays, then a line says that this was all the time it had."""
    stuck = ServedModel("talker:1b", Reply(says("Bank ", "the embers.").lines, hold_after=1))
    async with chat_staged(tmp_path, one_model("talker:1b"), stuck) as stage:
        told = await shown(stage.cluster.file, "demo", "--timeout", "3")
        document = await answer(stage.cluster.file, "demo", "--timeout", "3")
    assert "\nBank \nnot done within 3 s, called off" in told
    assert document["chat"]["problem"].startswith("not done within 3 s")


async def test_up_starts_the_chat_service(tmp_path: Path) -> None:
    """It is among what the cluster in the foreground says that it runs, and answers."""
    async with OllamaServer(TALKER) as ollama:
        file = write_chat_cluster(tmp_path, one_model("talker:1b"), ollama.url)
        with (tmp_path / "log").open("wb") as log:
            command = ("-m", "services.cli", "up", "--config", str(file.path))
            process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=log)
        try:
            assert process.stdout is not None
            told = (await asyncio.wait_for(process.stdout.readuntil(b"\n\n"), SECONDS)).decode()
            assert await shown(file, "chat", "Hello?") == f"{ANSWER}\n"
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), SECONDS) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert ["chat", file.configuration.services.chat.listen] in words(told)
