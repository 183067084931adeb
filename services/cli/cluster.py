"""The services as child processes of this one, for a laptop, the demo, the benchmarks and the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from services.chassis.health import LIVENESS, OVERALL
from services.chassis.tls import CertificatesUnusable, Secured, neighbor
from services.cli.capabilities import ENGINES, PROCESSES, SERVICES
from services.cli.client import despair, serves
from services.config import (
    Capability,
    ConfigurationFile,
    Model,
    Tls,
    environment,
    is_literal,
    split_address,
)

POLL_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 1.0
"""How often a process that does not serve is asked whether it ever will."""
STOP_SECONDS: Final = 30.0
LOG_TAIL_LINES: Final = 12


class ClusterFailed(Exception):
    """A service did not start, or ended by itself; the message says which and quotes its log."""


@dataclass(slots=True)
class Child:
    """One service process.

    Attributes:
        name: Name of the service.
        listen: Where its gRPC server listens.
        process: The process.
        log: What it wrote; None when it writes to this process's standard error.
        health: What must be SERVING for it to be ready: gRPC services, or the process as a whole.
        tls: What a connection to it needs; None for plain text.
    """

    name: str
    listen: str
    process: subprocess.Popen[bytes]
    log: Path | None
    health: tuple[str, ...] = (OVERALL,)
    tls: Secured | None = None

    def serving(self) -> bool:
        """Say whether all of its health is SERVING."""
        return all(serves(self.listen, service, tls=self.tls) for service in self.health)

    def despair(self) -> str:
        """Say why it will never serve: each of its models has failed; empty as long as it may."""
        return despair(self.listen, tls=self.tls) if self.name in ENGINES else ""

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def tail(self) -> str:
        """Return the last lines of its log."""
        if self.log is None or not self.log.is_file():
            return ""
        return "\n".join(
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        )


@dataclass(slots=True)
class Cluster:
    """Service processes that are started and stopped together.

    Attributes:
        file: The configuration that all of them read.
        logs: Folder for their logs; None sends them to this process's standard error.
        arguments: Command-line arguments for each of them.
        variables: Environment variables to set for them.
        children: The processes, engines first, then chat, the router last.
    """

    file: ConfigurationFile
    logs: Path | None = None
    arguments: Sequence[str] = ()
    variables: dict[str, str] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_all(self) -> None:
        """Start every service that there is work for, one process per endpoint on this host."""
        services: list[str] = []
        for name in PROCESSES:
            wakes = self.serves_from_the_start(name)
            endpoints = self.endpoints(name)
            for index, endpoint in enumerate(endpoints):
                child = self.start(name, endpoint, metrics=index == 0)
                child.health = child.health if wakes else (LIVENESS,)
            if endpoints and wakes:
                services += [SERVICES[capability] for capability in self.capabilities_of(name)]
        router = self.start("router", self.file.configuration.services.router.listen)
        # A router that has not found its backends yet is of no use.
        router.health = (*services,) or router.health

    def endpoints(self, name: Capability) -> Sequence[str]:
        """Return where a service's replicas have to listen: the endpoints of its routes on this host."""
        configuration = self.file.configuration
        backends = [
            configuration.backend(backend)
            for capability in self.capabilities_of(name)
            for backend in configuration.routes[capability].backends
        ]
        endpoints = [endpoint for backend in backends for endpoint in backend.endpoints]
        return [one for one in dict.fromkeys(endpoints) if is_literal(split_address(one)[0])]

    def capabilities_of(self, name: Capability) -> Sequence[Capability]:
        """Return what a service answers for."""
        return [capability for capability in SERVICES if self.service_for(capability) == name]

    def service_for(self, capability: Capability) -> Capability | None:
        """Return the service that a capability's route leads to; None without a route, or without a model."""
        configuration = self.file.configuration
        route = configuration.routes.get(capability)
        backends = route.backends if route else ()
        chat = configuration.routes.get("chat")
        run_here = {
            isinstance(model, Model)
            for model in configuration.models.values()
            if model.capability == capability
        }
        if not backends or not run_here:
            return None
        if True not in run_here:
            return "chat"
        # Some run here and others at providers: the route leads to one service only.
        leads_to_chat = False in run_here and backends in (("chat",), chat.backends if chat else None)
        return "chat" if leads_to_chat else capability

    def serves_from_the_start(self, name: Capability) -> bool:
        """Say whether a service answers calls before somebody has told it to load a model."""
        configuration = self.file.configuration
        return (
            name not in ENGINES
            or configuration.engine.on_demand != "never"
            or any(
                isinstance(model, Model) and model.capability == name and model.preload
                for model in configuration.models.values()
            )
        )

    def start(self, name: str, listen: str, *, metrics: bool = True) -> Child:
        """Start one service; returns at once, before it listens.

        Raises:
            ClusterFailed: Its certificates cannot be used.
        """
        tls = self._secured(name)
        command = [sys.executable, "-m", f"services.{name}", "--config", str(self.file.path)]
        command += ["--listen", listen, *self.arguments, *(() if metrics else ("--no-metrics",))]
        log = self.logs / f"{name}-{split_address(listen)[1]}.log" if self.logs is not None else None
        output: IO[bytes] | None = log.open("ab") if log is not None else None
        try:
            process = subprocess.Popen(
                command,
                stderr=output,
                env=environment.child_environment(**self.variables),
                start_new_session=True,  # Ctrl-C is for this process, which then stops them in order
            )
        finally:
            if output is not None:
                output.close()
        child = Child(name, listen, process, log, tls=tls)
        self.children.append(child)
        return child

    def _secured(self, name: str) -> Secured | None:
        """Return what a connection to a service needs."""
        tls: Tls | None = getattr(self.file.configuration.services, name).tls
        try:
            return neighbor(tls) if tls is not None else None
        except CertificatesUnusable as error:
            message = f"{name} cannot be started: {error}"
            raise ClusterFailed(message) from error

    def wait_until_serving(
        self,
        seconds: float,
        tell: Callable[[str], None] = lambda _: None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until every process says SERVING.

        Args:
            seconds: How long to wait at most.
            tell: Called with what is being waited for, again and again.
            give_up: Asked again and again whether to stop waiting.

        Raises:
            ClusterFailed: One has ended, none of its models can be loaded, or not all serve in time.
        """
        now = time.monotonic()
        due, look = now + seconds, now + LOOK_SECONDS
        waiting = list(self.children)
        while waiting and not give_up():
            tell(", ".join(child.name for child in waiting))
            self.check_alive()
            waiting = [child for child in waiting if not child.serving()]
            if waiting and time.monotonic() > look:
                look = time.monotonic() + LOOK_SECONDS
                _check_hope(waiting)
            if waiting and time.monotonic() > due:
                names = ", ".join(f"{child.name} at {child.listen}" for child in waiting)
                message = f"not serving after {seconds:.0f} s: {names}\n{waiting[0].tail()}".rstrip()
                raise ClusterFailed(message)
            time.sleep(POLL_SECONDS)  # no event loop here; the processes are what takes the time

    def check_alive(self) -> None:
        """Make sure that no process has ended.

        Raises:
            ClusterFailed: One has.
        """
        for child in self.children:
            if (code := child.process.poll()) is not None:
                message = f"{child.name} ended with exit code {code}\n{child.tail()}".rstrip()
                raise ClusterFailed(message)

    def stop(self) -> None:
        """Stop the router, then the others, each gently; what does not stop is killed."""
        for child in reversed(self.children):
            child.signal(signal.SIGCONT)  # one that was frozen could not stop
            child.signal(signal.SIGTERM)
            if child.name == "router":
                _wait(child)
        for child in self.children:
            _wait(child)
        self.children.clear()


def _check_hope(children: Sequence[Child]) -> None:
    """Fail if one of the processes waits for models that cannot be loaded: nobody else should wait, too."""
    for child in children:
        if problem := child.despair():
            message = f"{child.name} has no model that can be loaded\n{problem}"
            raise ClusterFailed(message)


def _wait(child: Child) -> None:
    try:
        child.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()
