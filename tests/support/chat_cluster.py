"""A router and a chat service as real processes, in front of a stand-in for an Ollama."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inglenook.chat.v1 import Message, Part, Role

from services.config import ConfigurationFile, load
from tests.support.configuration import free_addresses
from tests.support.ollama_models import ServedModel
from tests.support.ollama_server import OllamaServer
from tests.support.stage import Stage, staged_from

SEVERAL_MODELS: Final = """
[models.assistant]
capability = "chat"
targets = ["ollama/talker:1b"]

[models.absent]
capability = "chat"
targets = ["ollama/nothing:1b"]

[models.bought]
capability = "chat"
targets = ["claude/haiku"]

[models.vectors]
capability = "embed"
targets = ["ollama/embedder"]
dimensions = 4
"""
"""One that answers, one that its Ollama lacks, one that costs money, and one for embeddings."""

NETWORK: Final = """
[providers.ollama]
type = "ollama"
url = "{ollama}"

[routes]
chat = ["chat"]
embed = ["chat"]

[backends.chat]
endpoints = ["{chat}"]

[services.chat]
listen = "{chat}"
metrics_listen = "{chat_metrics}"

[services.router]
listen = "{router}"
metrics_listen = "{router_metrics}"
http_listen = "{http}"

[shutdown]
drain_seconds = 0.5
grace_seconds = 10.0
flush_seconds = 0.5
"""


@dataclass(frozen=True)
class ChatStage(Stage):
    """A running cluster that can chat, and the Ollama that it asks."""

    ollama: OllamaServer


def write_chat_cluster(
    folder: Path, models: str, url: str, more: str = "", *, http: bool = False
) -> ConfigurationFile:
    """Write and load a configuration of a router and a chat service.

    Args:
        folder: Where to.
        models: Sections of the models.
        url: Where the Ollama is.
        more: TOML that is put at the end.
        http: Whether the router also listens for HTTP.
    """
    names = ("chat", "chat_metrics", "router", "router_metrics", "http")
    addresses = dict(zip(names, free_addresses(len(names)), strict=True))
    if not http:
        addresses["http"] = "off"
    path = folder / "inglenook.toml"
    path.write_text(models + NETWORK.format(ollama=url, **addresses) + more, encoding="utf-8")
    return load(path)


@asynccontextmanager
async def chat_staged(
    folder: Path, models: str, *served: ServedModel, more: str = "", http: bool = False
) -> AsyncIterator[ChatStage]:
    """Run a cluster in front of an Ollama that has these models; see `write_chat_cluster`."""
    async with OllamaServer(*served) as ollama:
        file = write_chat_cluster(folder, models, ollama.url, more, http=http)
        async with staged_from(file) as stage:
            yield ChatStage(stage.channel, stage.cluster, ollama)


def user(text: str) -> Message:
    """Return a turn of the user."""
    return Message(role=Role.ROLE_USER, parts=[Part(text=text)])


def asking(model: str, text: str = "How warm is it?", **more: Any) -> dict[str, Any]:
    """Return the fields of a request with one question."""
    return {"model": model, "messages": [user(text)], **more}
