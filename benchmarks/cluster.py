"""A cluster under measurement: one router and one engine service, on free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import Method, Tally
from services.cli.cluster import Child, Cluster
from services.config import ConfigurationFile, environment, load

START_SECONDS: Final = 120
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
MEGABYTE: Final = 1_000_000

CONFIGURATION: Final = """
{models}

[engine]
{engine}

[routes]
{capability} = ["{capability}"]

[backends.{capability}]
endpoints = ["127.0.0.1:{listen}"]

[services.router]
listen = "127.0.0.1:{router}"
metrics_listen = "127.0.0.1:{router_metrics}"
http_listen = "off"

[services.{capability}]
listen = "127.0.0.1:{listen}"
metrics_listen = "127.0.0.1:{metrics}"

[shutdown]
drain_seconds = 0

[cache]
url = "{cache}"
"""


@dataclass(frozen=True, slots=True)
class Served:
    """What a cluster serves.

    Attributes:
        capability: The capability of its models, and the name of its engine service.
        models: Their sections of the configuration file.
        engine: Lines of `[engine]`.
        cache: URL of the router's cache. Off where the engine is what is measured.
    """

    capability: Method
    models: str
    engine: str = ""
    cache: str = "off"


@dataclass(frozen=True, slots=True)
class Padding:
    """Tokens that were run, by the service's own count."""

    real: float
    padded: float

    def efficiency_since(self, earlier: Padding) -> float:
        """Return real tokens divided by padded ones, of what was run since."""
        return (self.real - earlier.real) / (self.padded - earlier.padded)


@dataclass(frozen=True, slots=True)
class Processor:
    """Seconds of processor time that the services took since they were started."""

    router: float
    engine: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (10^6 bytes) of a process.

    Attributes:
        resident: RSS: its own pages, and those of files that are mapped into it.
        own: Its own pages alone. Pages of files come and go as the kernel likes: they can be read again.
        peak: The most that `resident` ever was.
    """

    resident: float
    own: float
    peak: float


class BenchCluster:
    """Starts and stops the services, and loads them.

    Args:
        folder: Where its files are written.
        served: What it serves.
        cache: Its cache, which other clusters of the same run may have filled. Default: one of its own.
    """

    def __init__(self, folder: Path, served: Served, cache: Path | None = None) -> None:
        self.capability = served.capability
        self.file = _configuration(folder, served)
        # Never the machine's own cache: what an earlier version has measured must not count.
        variables = {environment.CACHE_VARIABLE: str(cache or folder / "cache")}
        self._cluster = Cluster(self.file, logs=folder, variables=variables)

    def __enter__(self) -> BenchCluster:
        try:
            self._cluster.start_all()
            self._cluster.wait_until_serving(START_SECONDS)
        except BaseException:
            self._cluster.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()

    @property
    def address(self) -> str:
        """Where the router listens."""
        return self.file.configuration.services.router.listen

    @property
    def engine(self) -> Child:
        """The engine service."""
        return self._child(self.capability)

    def restart_engine(self) -> float:
        """Stop the engine service and start it again; return the seconds from its start to SERVING."""
        old = self.engine
        old.signal(signal.SIGTERM)
        old.process.wait()
        self._cluster.children.remove(old)
        began = time.perf_counter()
        child = self._cluster.start(self.capability, old.listen)
        while not child.serving():
            self._cluster.check_alive()
        seconds = time.perf_counter() - began
        self._cluster.wait_until_serving(START_SECONDS)
        return seconds

    def load(
        self, texts: int, *, per_call: int, callers: int, different: int = 0, more: Sequence[str] = ()
    ) -> Tally:
        """Send texts, passages or pairs through the router from another process.

        Args:
            texts: How many in all.
            per_call: How many in one call.
            callers: How many calls are under way at any time.
            different: How many different texts there are; 0 for all.
            more: Further options of `benchmarks.load`, whose last word counts.
        """
        command = [sys.executable, "-m", "benchmarks.load", "--method", self.capability]
        command += ["--address", self.address, "--texts", str(texts)]
        command += ["--per-call", str(per_call), "--callers", str(callers)]
        command += ["--different", str(different)] if different else []
        command += more
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        tally = Tally(**json.loads(done.stdout))
        if tally.failures:
            message = f"{len(tally.failures)} calls failed, the first with {tally.failures[0]}"
            raise RuntimeError(message)
        return tally

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric of the engine service, summed over its samples that have `labels`."""
        address = getattr(self.file.configuration.services, self.capability).metrics_listen
        with urllib.request.urlopen(f"http://{address}/metrics") as response:
            text = response.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def padding(self) -> Padding:
        """Return the engine service's token counts."""
        real, padded = (self.metric(f"inglenook_{name}_tokens_total") for name in ("real", "padded"))
        return Padding(real, padded)

    def processor(self) -> Processor:
        """Return what the services have taken of the processor."""
        return Processor(*map(_processor_seconds, (self._child("router"), self.engine)))

    def memory(self) -> Memory:
        """Return what the engine service takes."""
        status = Path(f"/proc/{self.engine.process.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        names = ("VmRSS", "RssAnon", "VmHWM")
        return Memory(*(int(fields[name].split()[0]) * 1024 / MEGABYTE for name in names))

    def _child(self, name: str) -> Child:
        return next(child for child in self._cluster.children if child.name == name)


def _processor_seconds(child: Child) -> float:
    stat = Path(f"/proc/{child.process.pid}/stat").read_text(encoding="ascii")
    # Fields are counted after the name, which stands in parentheses and may hold anything: proc_pid_stat(5).
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_SECOND


def free_ports(*names: str) -> dict[str, int]:
    """Return ports that nobody listened on a moment ago, by name."""
    sockets = [socket.socket() for _ in names]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    for one in sockets:
        one.close()
    return ports


def _configuration(folder: Path, served: Served) -> ConfigurationFile:
    ports = free_ports("listen", "router", "router_metrics", "metrics")
    path = folder / "inglenook.toml"
    content = CONFIGURATION.format(
        models=served.models,
        engine=served.engine,
        capability=served.capability,
        cache=served.cache,
        **ports,
    )
    path.write_text(content, encoding="utf-8")
    return load(path)
