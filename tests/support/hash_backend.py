"""`python -m tests.support.hash_backend`: a whole service process whose models are hashes of the texts.

    python -m tests.support.hash_backend --serves embed,rerank --listen 127.0.0.1:0 --control FILE

It is what the router takes for engine services: gRPC, health, admission, drain and metrics are the chassis's
own. What it does is what the file `--control` says, read anew for every call; an absent or empty file is
`normal`:

    normal          answers
    slow SECONDS    answers that much later
    failing SHARE   fails that share of the calls, with UNAVAILABLE and with INTERNAL in turn
    garbage         answers with what no model computes: too few results, NaN, bytes that do not parse
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from services.config import environment

environment.prepare_native_libraries()  # before anything imports gRPC

import grpc  # noqa: E402
from inglenook.common.v1 import Capability, ModelInfo, ModelState  # noqa: E402
from inglenook.embed.v1 import EmbedRequest  # noqa: E402
from inglenook.model.v1 import (  # noqa: E402
    CountTokensRequest,
    CountTokensResponse,
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
)
from inglenook.nli.v1 import ClassifyRequest, InferRequest  # noqa: E402
from inglenook.rerank.v1 import RerankRequest  # noqa: E402

from services.chassis.errors import CallError, InvalidRequest, Reason  # noqa: E402
from services.chassis.load_report import LoadReports  # noqa: E402
from services.chassis.logs import configure_logs  # noqa: E402
from services.chassis.process import (  # noqa: E402
    ProcessSettings,
    ServiceProcess,
    Surroundings,
    run_until_signal,
)
from services.chassis.trailing import FINGERPRINT_KEY, add_trailing  # noqa: E402
from services.config import Limits, Service, Shutdown, Telemetry  # noqa: E402
from tests.support import hash_answers as answers  # noqa: E402
from tests.support.hash_values import MODELS, fingerprint  # noqa: E402

if TYPE_CHECKING:
    from services.chassis.health import Health
    from services.config import ConfigurationFile

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

METHODS: Final[dict[str, dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any, int], bytes]]]]] = {
    "embed": {"Embed": (EmbedRequest, answers.embed, answers.bad_embed)},
    "rerank": {"Rerank": (RerankRequest, answers.rerank, answers.bad_rerank)},
    "nli": {
        "Infer": (InferRequest, answers.infer, answers.bad_infer),
        "Classify": (ClassifyRequest, answers.classify, answers.bad_classify),
    },
}
"""By capability and method: the request, what answers it, and what answers it badly."""


class Broken(CallError):
    """The backend was told to fail."""

    reason = Reason.MODEL_FAILED


class Internal(CallError):
    """The same, as a failing computation would."""

    reason = Reason.INFERENCE_FAILED


class HashApplication:
    """Serves some capabilities with hashes. Satisfies `chassis.process.Application`."""

    def __init__(self, surroundings: Surroundings, serves: Sequence[str], control: Path | None) -> None:
        self._serves = serves
        self._control = control
        self._calls = itertools.count()
        surroundings.layers.append(LoadReports(lambda: 0.1))

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""
        return [*map(_service, self._serves), _service("model")]

    def register(self, server: grpc.aio.Server) -> None:
        """Add the methods of its capabilities."""
        for capability in self._serves:
            handlers = {name: self._handler(capability, name) for name in METHODS[capability]}
            self._add(server, capability, handlers)
        asked: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "ListModels": (ListModelsRequest, lambda _: ListModelsResponse(models=self._models())),
            "GetModel": (GetModelRequest, lambda asked: GetModelResponse(model=self._model(asked.model))),
            "CountTokens": (CountTokensRequest, self._count),
        }
        handlers = {}
        for name, (request, respond) in asked.items():
            handlers[name] = _unary(request, self._told(respond))
        self._add(server, "model", handlers)

    async def start(self, health: Health) -> None:
        """Serve at once."""
        await health.set_all(serving=True)

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Do nothing: it has no configuration."""
        del file
        return ()

    async def stop(self) -> None:
        """Do nothing."""

    def _add(self, server: grpc.aio.Server, capability: str, handlers: dict[str, Any]) -> None:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_service(capability), handlers),)
        )

    def _handler(self, capability: str, name: str) -> Any:
        request_type, respond, misbehave = METHODS[capability][name]
        model = MODELS[capability]

        async def answer(request: Any, context: Context) -> bytes:
            if request.model not in {"", model}:
                raise InvalidRequest([("model", "is not here")])
            call, (mode, number) = next(self._calls), self._mode()
            if mode == "slow":
                await asyncio.sleep(number)
            if mode == "failing" and call % 100 < 100 * number:
                error = Broken if call % 2 else Internal
                message = "told to fail"
                raise error(message)
            add_trailing(context, (FINGERPRINT_KEY, fingerprint(model)))
            if mode == "garbage":
                return misbehave(request, call)
            content: bytes = respond(request).SerializeToString()
            return content

        return _unary(request_type, answer)

    def _mode(self) -> tuple[str, float]:
        try:
            said = self._control.read_text(encoding="utf-8") if self._control else ""
        except FileNotFoundError:
            said = ""
        mode, _, number = said.strip().partition(" ")
        return mode or "normal", float(number or 0)

    def _told(self, respond: Callable[[Any], Any]) -> Any:
        async def tell(request: Any, context: Context) -> bytes:
            del context
            content: bytes = respond(request).SerializeToString()
            return content

        return tell

    def _count(self, asked: CountTokensRequest) -> CountTokensResponse:
        counts = [len(text.split()) for text in asked.inputs]
        return CountTokensResponse(token_counts=counts, max_input_tokens=512, model=asked.model)

    def _models(self) -> list[ModelInfo]:
        return [self._model(MODELS[capability]) for capability in self._serves]

    def _model(self, name: str) -> ModelInfo:
        capability = next((one for one in self._serves if MODELS[one] == name), None)
        if capability is None:
            raise InvalidRequest([("model", "is not here")])
        return ModelInfo(
            name=name,
            capability=Capability.Value(f"CAPABILITY_{capability.upper()}"),
            state=ModelState.MODEL_STATE_READY,
            fingerprint=fingerprint(name),
            max_input_tokens=512,
        )


def _service(capability: str) -> str:
    return f"inglenook.{capability}.v1.{capability.capitalize()}Service"


def _unary(request_type: Any, answer: Any) -> Any:
    """Return a handler whose responses are bytes already."""
    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=request_type.FromString)


def main(arguments: Sequence[str]) -> int:
    """Run the process; return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serves", default="embed,rerank,nli")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--metrics-listen")
    parser.add_argument("--control", type=Path)
    parser.add_argument("--drain-seconds", type=float, default=0.5)
    options = parser.parse_args(arguments)
    settings = ProcessSettings(
        name="hash",
        version="0",
        service=Service(listen=options.listen, metrics_listen=options.metrics_listen),
        limits=Limits(),
        shutdown=Shutdown(drain_seconds=options.drain_seconds, grace_seconds=5.0, flush_seconds=0.5),
        telemetry=Telemetry(),
    )
    configure_logs("hash", settings.telemetry)
    serves = options.serves.split(",")
    asyncio.run(_serve(settings, lambda around: HashApplication(around, serves, options.control)))
    return 0


async def _serve(settings: ProcessSettings, build: Callable[[Surroundings], HashApplication]) -> None:
    await run_until_signal(ServiceProcess(settings, build))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
