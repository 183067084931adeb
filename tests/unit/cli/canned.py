"""A router whose answers the test has canned: real gRPC and real statuses, in a thread of this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from inglenook.common.v1 import Timings, Usage
from inglenook.embed.v1 import EmbedServiceServicer, add_EmbedServiceServicer_to_server
from inglenook.model.v1 import ModelServiceServicer, add_ModelServiceServicer_to_server
from inglenook.nli.v1 import NliServiceServicer, add_NliServiceServicer_to_server
from inglenook.rerank.v1 import RerankServiceServicer, add_RerankServiceServicer_to_server
from inglenook.router.v1 import RouterServiceServicer, add_RouterServiceServicer_to_server
from typer.testing import CliRunner, Result

from services.chassis.errors import CallError
from services.chassis.pipeline.translate import SERVED_BY_KEY
from services.chassis.status import explained_status
from services.cli.main import app

SERVED_BY = "canned@127.0.0.1:1"
THREADS = 2

Respond: TypeAlias = Callable[[Any], Message]


@dataclass
class CannedRouter(
    EmbedServiceServicer,
    RerankServiceServicer,
    NliServiceServicer,
    ModelServiceServicer,
    RouterServiceServicer,
):
    """Answers each kind of request as the test says, and remembers the requests.

    Attributes:
        answers: What answers a kind of request; it may raise a `CallError`.
        requests: The requests that came, in order.
        address: Where it listens.
    """

    answers: dict[type[Message], Respond] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    address: str = ""

    def on(self, kind: type[Message], respond: Respond) -> None:
        """Answer requests of a kind so from now on."""
        self.answers[kind] = respond

    def answer(self, request: Message, context: Any) -> Any:
        """Answer any call; an error becomes the status that our services would make of it."""
        self.requests.append(request)
        identity = ((SERVED_BY_KEY, SERVED_BY),)
        try:
            response = self.answers[type(request)](request)
        except CallError as error:
            status = explained_status(error)
            context.set_trailing_metadata((*status.trailing_metadata, *identity))
            context.abort(status.code, status.message)
            raise
        context.set_trailing_metadata(identity)
        return response

    Embed = Rerank = Infer = Classify = answer
    ListModels = GetModel = LoadModel = UnloadModel = CountTokens = answer
    GetStatus = ListBackends = Reload = PurgeCache = answer

    def run(self, *arguments: str, given: str | bytes = "") -> Result:
        """Run the tool against this router, with `given` on its standard input."""
        return CliRunner().invoke(app, [*arguments, "--router", self.address], input=given)

    def document(self, *arguments: str, given: str = "") -> Any:
        """Run the tool with --json and return what it printed; it must not fail."""
        done = self.run(*arguments, "--json", given=given)
        assert done.exit_code == 0, done.output
        assert done.stderr == ""
        return json.loads(done.stdout)

    def error(self, *arguments: str, given: str = "", exit_code: int = 1) -> Any:
        """Run the tool with --json, which must fail with `exit_code`, and return the error that it told."""
        done = self.run(*arguments, "--json", given=given)
        assert done.exit_code == exit_code, done.output
        document = json.loads(done.stdout)
        assert set(document) == {"error"}
        return document["error"]


@contextmanager
def canned_router() -> Iterator[CannedRouter]:
    """Run a router without answers."""
    router = CannedRouter()
    with ThreadPoolExecutor(THREADS) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        add_EmbedServiceServicer_to_server(router, server)
        add_RerankServiceServicer_to_server(router, server)
        add_NliServiceServicer_to_server(router, server)
        add_ModelServiceServicer_to_server(router, server)
        add_RouterServiceServicer_to_server(router, server)
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        router.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield router
        finally:
            server.stop(0).wait()


@contextmanager
def serving_only(services: Sequence[str]) -> Iterator[str]:
    """Run a process that says SERVING for `services` alone; yield where it listens."""
    health = HealthServicer()
    health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    for service in services:
        health.set(service, health_pb2.HealthCheckResponse.SERVING)
    with ThreadPoolExecutor(THREADS) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield address
        finally:
            server.stop(0).wait()


def cost(tokens: int) -> dict[str, Any]:
    """Return the fields of a response that say what it took: so many tokens, and 3 ms of inference."""
    spent = Duration()
    spent.FromTimedelta(timedelta(milliseconds=3))
    return {"usage": Usage(input_tokens=tokens), "timings": Timings(inference_time=spent)}
