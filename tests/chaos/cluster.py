"""The cluster that is hurt: two routers, two replicas of everything behind them, a Redis, an Ollama."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import httpx2
from inglenook.router.v1 import BackendState

from services.config import join_address
from tests.chaos.callers import Desk, spoken
from tests.chaos.programs import Program
from tests.support.configuration import free_addresses
from tests.support.history import History
from tests.support.ollama_models import Reply, ServedModel, says
from tests.support.ollama_server import OllamaServer
from tests.support.polling import until
from tests.support.redis_server import RedisServer
from tests.support.scraping import Sample, scrape_at
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs

SERVICES: Final = {
    name: f"inglenook.{name}.v1.{name.capitalize()}Service"
    for name in ("embed", "rerank", "nli", "chat", "router")
}
ENGINES: Final = ("embed", "rerank", "nli")
HEDGED: Final = ("embed", "nli")
"""Calls of rerank must do without a second one sent ahead of time, so that failover alone is tested, too."""
MODELS: Final = "".join(
    f'[models.hash-{name}]\ncapability = "{name}"\nsource = "dir:/nowhere/at/all"\n' for name in ENGINES
)
CHAT: Final = """
[models.assistant]
capability = "chat"
targets = ["ollama/talker:1b", "cloud/gpt"]

[providers.ollama]
type = "ollama"
url = "{ollama}"

[providers.cloud]
type = "openai"
url = "http://{paid}"
api_key = "env:NO_SUCH_KEY_IN_ANY_ENVIRONMENT"
"""
ROUTE: Final = """
[routes.{name}]
backends = ["{name}"]
{settings}

[backends.{name}]
endpoints = [{endpoints}]
"""
REST: Final = """
[services.router]
http_listen = "{http}"

[cache]
url = "{cache}"
memory_bytes = 100_000

[channels]
keepalive_seconds = 1.0
ping_timeout_seconds = 0.5
ejection_seconds = 0.5

[chat]
max_retries = 0
ejection_seconds = 0.2

[shutdown]
drain_seconds = 0.5
grace_seconds = 5.0
flush_seconds = 0.5
"""


@dataclass
class PaidTrap:
    """A listening socket in the place of a provider that costs money: nobody may connect to it.

    Attributes:
        address: Where it listens.
        connections: How many have come.
    """

    address: str = ""
    connections: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[PaidTrap]:
        """Listen."""

        def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del reader
            self.connections += 1
            writer.transport.abort()

        server = await asyncio.start_server(came, "127.0.0.1", 0)
        async with server:
            self.address = join_address(*server.sockets[0].getsockname()[:2])
            yield self


@dataclass
class Hurt:
    """The cluster, and what tests do with it.

    Attributes:
        programs: Its processes by name: `embed-1`, `embed-2` and so on, `router-1`, `router-2`.
        ollama: What the chat service asks.
        paid: What it must not ask.
        redis: Where answers are kept.
        desk: Calls the first router.
        both: Calls both routers over one channel, which balances.
        history: All calls.
        talker: The chat model that the Ollama has.
    """

    programs: Mapping[str, Program]
    ollama: OllamaServer
    paid: PaidTrap
    redis: RedisServer
    desk: Desk
    both: Desk
    history: History
    talker: ServedModel

    @property
    def router(self) -> Program:
        """The router that callers call."""
        return self.programs["router-1"]

    async def until_well(self) -> None:
        """Wait until every process serves and the routers know all replicas as healthy."""
        for program in self.programs.values():
            await program.serving()
        for name in ("router-1", "router-2"):
            address = self.programs[name].listen
            async with grpc.aio.insecure_channel(address, OWN_CONNECTION) as channel:
                for program in self.programs.values():
                    if not program.name.startswith("router"):
                        await Stubs(channel).until_backend(program.listen, BackendState.BACKEND_STATE_HEALTHY)

    async def scrape(self, name: str = "router-1") -> list[Sample]:
        """Return the metrics of a process."""
        return await scrape_at(self.programs[name].metrics)

    async def until_idle(self) -> list[str]:
        """Wait until gauges of what is under way are zero; return those that do not get there."""

        async def look() -> bool:
            return not await self._under_way()

        try:
            await until(look, LIMIT_SECONDS / 4)
        except AssertionError:
            return await self._under_way()
        return []

    def log_bytes(self) -> dict[str, int]:
        """Return how much each process has logged."""
        logs = {name: program.log for name, program in self.programs.items()}
        return {name: log.stat().st_size for name, log in logs.items()}

    def tracebacks(self, before: Mapping[str, int]) -> list[str]:
        """Return what processes have logged with a traceback, each after so many bytes: bugs, all of them."""
        found: list[str] = []
        for name, program in self.programs.items():
            lines = program.log.read_bytes()[before[name] :].decode().splitlines()
            found += [f"{name}: {line[:1500]}" for line in lines if "Traceback" in line]
        return found[:3]

    async def _under_way(self) -> list[str]:
        found: list[str] = []
        for name, program in self.programs.items():
            found += [
                f"{name}: {sample.name}{dict(sample.labels)} = {sample.value:g}"
                for sample in await scrape_at(program.metrics)
                if sample.value and any(part in sample.name for part in GAUGES)
            ]
        backends = await self.desk.stubs.backends()
        return [*found, *(f"calls to {one.endpoint}" for one in backends if one.calls_in_flight)]


GAUGES: Final = ("calls_in_flight", "queue_depth", "queue_entries", "flights", "leases")
"""Parts of the names of gauges that are zero where nothing is under way."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where what is not a program of the cluster listens: URLs and addresses."""

    ollama: str
    paid: str
    cache: str
    http: str


def configuration(programs: Mapping[str, Program], places: Places, more: str = "") -> str:
    """Return the text of a configuration file; `more` is put at the end."""
    parts = [MODELS, CHAT.format(ollama=places.ollama, paid=places.paid)]
    for name in (*ENGINES, "chat"):
        here = [f'"{one.listen}"' for one in programs.values() if one.name.startswith(f"{name}-")]
        settings = "hedge_percentile = 95" if name in HEDGED else ""
        parts.append(ROUTE.format(name=name, settings=settings, endpoints=", ".join(here)))
    return "".join([*parts, REST.format(http=places.http, cache=places.cache), more])


def planned(folder: Path) -> dict[str, Program]:
    """Return the processes, which do not run yet."""
    names = [f"{name}-{number}" for name in (*ENGINES, "chat", "router") for number in (1, 2)]
    addresses = free_addresses(2 * len(names))
    programs = {}
    for name in names:
        service = name.partition("-")[0]
        module, arguments = f"services.{service}", ["--config", str(folder / f"{name}.toml")]
        if service in ENGINES:
            module = "tests.support.hash_backend"
            arguments = ["--serves", service, "--control", str(folder / f"{name}.mode")]
        programs[name] = Program(
            name=name,
            listen=addresses.pop(),
            metrics=addresses.pop(),
            service=SERVICES[service],
            module=module,
            arguments=arguments,
            folder=folder,
        )
    return programs


def talk(body: Mapping[str, Any]) -> Reply:
    """Answer a question with what can be told from it, in three pieces."""
    text = spoken(body["messages"][-1]["content"])
    return says(text[:9], text[9:30], text[30:])


def balanced(routers: Sequence[str]) -> grpc.aio.Channel:
    """Return a channel as programs should have it: over all routers, looking at health, trying again."""
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": SERVICES["embed"]},
        "methodConfig": [
            {
                "name": [{"service": SERVICES["embed"], "method": "Embed"}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.02s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }
    options = [("grpc.service_config", json.dumps(config)), *OWN_CONNECTION]
    return grpc.aio.insecure_channel(f"ipv4:{','.join(routers)}", options=options)


@asynccontextmanager
async def hurt_cluster(folder: Path, redis: RedisServer) -> AsyncIterator[Hurt]:
    """Start the cluster, wait until it serves, and end it at the end."""
    talker = ServedModel("talker:1b", talk)
    async with AsyncExitStack() as stack:
        ollama = await stack.enter_async_context(OllamaServer(talker))
        paid = await stack.enter_async_context(PaidTrap().listening())
        programs, (http,) = planned(folder), free_addresses(1)
        for name, program in programs.items():
            places = Places(ollama.url, paid.address, redis.url, http if name == "router-1" else "off")
            text = configuration(programs, places)
            if program.module.startswith("services."):
                (folder / f"{name}.toml").write_text(text, encoding="utf-8")
            stack.callback(program.end)
            program.start()
        history = History()
        one = grpc.aio.insecure_channel(programs["router-1"].listen, OWN_CONNECTION)
        both = balanced([programs["router-1"].listen, programs["router-2"].listen])
        client = httpx2.AsyncClient(base_url=f"http://{http}", timeout=LIMIT_SECONDS)
        for opened in (one, both, client):
            await stack.enter_async_context(opened)
        desk = Desk(Stubs(one), client, history, random.Random(7))
        other = Desk(Stubs(both), None, history, random.Random(8))
        cluster = Hurt(programs, ollama, paid, redis, desk, other, history, talker)
        await cluster.until_well()
        yield cluster
