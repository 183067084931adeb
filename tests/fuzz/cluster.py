"""The processes that are fuzzed: a router before hash backends, and every service by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from inglenook.chat.v1 import chat_pb2
from inglenook.embed.v1 import embed_pb2
from inglenook.feedback.v1 import feedback_pb2
from inglenook.model.v1 import model_pb2
from inglenook.nli.v1 import nli_pb2
from inglenook.rerank.v1 import rerank_pb2
from inglenook.router.v1 import router_pb2

from tests.chaos.programs import Program
from tests.support.configuration import describe_model, free_addresses
from tests.support.hash_values import MODELS
from tests.support.ollama_models import Reply, ServedModel, says
from tests.support.ollama_server import OllamaServer
from tests.support.stubs import OWN_CONNECTION
from tests.support.tiny import write_model
from tests.support.zero_shot import write_nli_model

SERVICES: Final = {
    "chat": chat_pb2.DESCRIPTOR.services_by_name["ChatService"],
    "embed": embed_pb2.DESCRIPTOR.services_by_name["EmbedService"],
    "rerank": rerank_pb2.DESCRIPTOR.services_by_name["RerankService"],
    "nli": nli_pb2.DESCRIPTOR.services_by_name["NliService"],
    "model": model_pb2.DESCRIPTOR.services_by_name["ModelService"],
    "router": router_pb2.DESCRIPTOR.services_by_name["RouterService"],
    "feedback": feedback_pb2.DESCRIPTOR.services_by_name["FeedbackService"],
}
SERVED: Final[Mapping[str, Sequence[str]]] = {
    "router": ("embed", "rerank", "nli", "chat", "model", "router", "feedback"),
    "embed": ("embed", "model"),
    "rerank": ("rerank", "model"),
    "nli": ("nli", "model"),
    "chat": ("chat", "embed", "model"),
}
"""What each process is asked for."""
ENGINES: Final = ("embed", "rerank", "nli")
STANDARD: Final = """
[models.assistant]
capability = "chat"
targets = ["ollama/talker:1b"]

[providers.ollama]
type = "ollama"
url = "{ollama}"

[services.router]
http_listen = "{http}"

[engine]
threads = 1
calibrate = false

[cache]
memory_bytes = 4_000_000

[shutdown]
drain_seconds = 0.0
grace_seconds = 2.0
flush_seconds = 0.5
"""
HASHES: Final = "".join(
    f'[models.hash-{name}]\ncapability = "{name}"\nsource = "dir:/nowhere/at/all"\n' for name in ENGINES
)
VECTORS: Final = '[models.vectors]\ncapability = "embed"\ntargets = ["ollama/embedder"]\ndimensions = 4\n'


@dataclass
class Fuzzed:
    """The processes, by name, and where the router listens for HTTP."""

    programs: Mapping[str, Program]
    channels: Mapping[str, grpc.aio.Channel]
    http: str

    def memory_bytes(self, name: str) -> int:
        """Return how much memory a process has resident."""
        process = self.programs[name].process
        assert process is not None
        text = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def log_bytes(self, name: str) -> int:
        """Return how much a process has logged."""
        return self.programs[name].log.stat().st_size

    def alive(self, name: str) -> bool:
        """Say whether a process still runs."""
        process = self.programs[name].process
        return process is not None and process.poll() is None


def methods(process: str) -> list[MethodDescriptor]:
    """Return the methods that a process is asked for."""
    return [method for service in SERVED[process] for method in SERVICES[service].methods]


def _models(folder: Path) -> str:
    return "".join(
        [
            describe_model("embed", MODELS["embed"], write_model(folder / "small")),
            describe_model("rerank", MODELS["rerank"], write_model(folder / "cross", pooling=None, labels=1)),
            describe_model(
                "nli", MODELS["nli"], write_nli_model(folder / "judge", "contradiction", "entailment")
            ),
        ]
    )


def talk(body: Mapping[str, Any]) -> Reply:
    """Answer as a model that can be held to JSON."""
    return says('{"a": ', "1}") if "format" in body else says("Cer", "tainly.")


@asynccontextmanager
async def fuzzed_cluster(folder: Path) -> AsyncIterator[Fuzzed]:
    """Start the processes, wait until all serve, and end them at the end."""
    (http,) = free_addresses(1)
    talker = ServedModel("talker:1b", talk, capabilities=("completion", "tools", "thinking", "vision"))
    async with AsyncExitStack() as stack:
        ollama = await stack.enter_async_context(OllamaServer(talker, ServedModel("embedder")))
        standard = STANDARD.format(ollama=ollama.url, http=http)
        addresses = free_addresses(12)
        programs: dict[str, Program] = {}
        for name in ("hash", *ENGINES, "chat", "router"):
            service = "embed" if name == "hash" else name
            module, arguments = f"services.{name}", ["--config", str(folder / f"{name}.toml")]
            if name == "hash":
                module, arguments = "tests.support.hash_backend", []
            listen, metrics = addresses.pop(), addresses.pop()
            programs[name] = Program(
                name, listen, metrics, SERVICES[service].full_name, module, arguments, folder
            )
        real = _models(folder)
        for name in ENGINES:
            (folder / f"{name}.toml").write_text(real + standard, encoding="utf-8")
        (folder / "chat.toml").write_text(real + VECTORS + standard, encoding="utf-8")
        routes = "".join(_route(name, programs["hash"].listen) for name in ENGINES)
        routes += _route("chat", programs["chat"].listen)
        (folder / "router.toml").write_text(HASHES + routes + standard, encoding="utf-8")
        channels = {}
        for name, program in programs.items():
            stack.callback(program.end)
            program.start()
            channel = grpc.aio.insecure_channel(program.listen, options=OWN_CONNECTION)
            channels[name] = await stack.enter_async_context(channel)
        for program in programs.values():
            await program.serving()
        yield Fuzzed(programs, channels, http)


def _route(name: str, listen: str) -> str:
    return f'[routes.{name}]\nbackends = ["{name}"]\n[backends.{name}]\nendpoints = ["{listen}"]\n'
