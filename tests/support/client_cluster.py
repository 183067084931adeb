"""The cluster that `make up` runs, for clients that we have not written.

It is on free ports, has API keys, and talks to a stand-in for the Ollama that `inglenook.toml` names.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from services.cli.cluster import Cluster
from services.config import ConfigurationFile, load
from tests.support.configuration import free_addresses
from tests.support.minilm import write_sample_configuration
from tests.support.ollama_models import Reply, ServedModel, calls, says
from tests.support.ollama_server import OllamaServer

START_SECONDS: Final = 50

KEY: Final = "a-key-for-everything"
EMBEDS_ONLY: Final = "a-key-for-embeddings"
SELDOM: Final = "a-key-for-one-call-a-minute"

MORE: Final = """
[providers.ollama]
type = "ollama"
url = "{ollama}"

[access.keys.everything]
hash = "{everything}"

[access.keys.embeddings]
hash = "{embeddings}"
allow = ["embed"]

[access.keys.seldom]
hash = "{seldom}"
requests_per_minute = 1
burst = 1
"""

WORDS: Final = ("A seat ", "beside ", "the fire.")
CITIES: Final = ("Oslo", "Rome")
FACTS: Final[Mapping[str, Any]] = {
    "reasoning": "Embers are hot for hours.",
    "dish": "baked potatoes",
    "minutes": 45,
}
"""What the model knows, by the name of the field that it is asked for."""
MARKER: Final = re.compile(r"\[\[ ## (\w+) ## \]\]")
"""How DSPy asks for a field."""


SLOWLY: Final = "Tell me slowly."
"""Is answered with the first of the words, and with the others once `GO_ON` is said."""
GO_ON: Final = "Go on."


class Talker:
    """The model: says what a good one would, in the words of this module."""

    def __init__(self) -> None:
        self._waits: list[asyncio.Event] = []

    def __call__(self, body: Mapping[str, Any]) -> Reply:
        """Return the answer to a request."""
        asked = body["messages"][-1]["content"]
        if asked == SLOWLY:
            self._waits.append(asyncio.Event())
            return replace(says(*WORDS), hold_after=1, go_on=self._waits[-1])
        if asked == GO_ON:
            while self._waits:
                self._waits.pop().set()
        return answer(body)


def answer(body: Mapping[str, Any]) -> Reply:
    """Return what is said at once."""
    messages = body["messages"]
    asked = str(messages[-1]["content"])
    if body.get("format"):
        names = FACTS if body["format"] == "json" else body["format"]["properties"]
        return says(json.dumps({name: FACTS[name] for name in names}))
    if messages[-1]["role"] == "tool":
        results = [str(message["content"]) for message in messages if message["role"] == "tool"]
        return says("It is ", " and ".join(results), ".")
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        return calls(*((name, {"city": city}) for city in CITIES if city in asked))
    if fields := MARKER.findall(asked.partition("Respond with")[2]):
        return says("".join(f"[[ ## {name} ## ]]\n{FACTS.get(name, '')}\n\n" for name in fields))
    return says(*WORDS)


@dataclass(frozen=True)
class ClientCluster:
    """A running cluster.

    Attributes:
        grpc: Where the router listens for gRPC.
        http: Where it listens for HTTP.
    """

    grpc: str
    http: str

    @property
    def url(self) -> str:
        """What OpenAI's clients call the base URL."""
        return f"http://{self.http}/v1"


@contextmanager
def client_cluster(folder: Path) -> Iterator[ClientCluster]:
    """Run a router and all services over the models of `inglenook.toml`."""
    model = ServedModel("gemma3n:e2b", Talker(), ("completion", "tools"))
    with ollama_thread(model) as ollama:
        file = _write(folder, ollama)
        with Cluster(file, logs=folder) as cluster:
            cluster.start_all()
            cluster.wait_until_serving(START_SECONDS)
            router = file.configuration.services.router
            assert router.http_listen is not None
            yield ClientCluster(router.listen, router.http_listen)


@contextmanager
def ollama_thread(*models: ServedModel) -> Iterator[str]:
    """Run a stand-in for an Ollama in a thread, so that tests may block; yield its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ollama")
    thread.start()
    server = OllamaServer(*models)
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server.url
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _write(folder: Path, ollama: str) -> ConfigurationFile:
    """Write and load the sample configuration with an HTTP side, keys, and this Ollama."""
    path = write_sample_configuration(folder).path
    (http,) = free_addresses(1)
    text = path.read_text(encoding="utf-8").replace('http_listen = "off"', f'http_listen = "{http}"')
    keys = {"everything": KEY, "embeddings": EMBEDS_ONLY, "seldom": SELDOM}
    hashes = {name: f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}" for name, secret in keys.items()}
    path.write_text(text + MORE.format(ollama=ollama, **hashes), encoding="utf-8")
    return load(path)
