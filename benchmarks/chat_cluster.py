"""A router and a chat service under measurement, in front of a provider that costs next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Self

from benchmarks.chat_load import Tally
from benchmarks.cluster import MEGABYTE, free_ports
from services.cli.cluster import Child, Cluster
from services.config import ConfigurationFile, load

START_SECONDS: Final = 60

CONFIGURATION: Final = """
{models}

[providers.upstream]
type = "openai-compatible"
url = "http://127.0.0.1:{upstream}/v1"
tier = "local"

[routes]
chat = ["chat"]

[backends.chat]
endpoints = ["127.0.0.1:{listen}"]

[services.router]
listen = "127.0.0.1:{router}"
metrics_listen = "127.0.0.1:{router_metrics}"
http_listen = "off"

[services.chat]
listen = "127.0.0.1:{listen}"
metrics_listen = "127.0.0.1:{metrics}"

[shutdown]
drain_seconds = 0
"""
MODEL: Final = '[models.{name}]\ncapability = "chat"\ntargets = ["upstream/{name}"]\n'


class ChatCluster:
    """Starts and stops the provider and the services, and loads them.

    Args:
        folder: Where its files are written.
        models: Models of the provider; see `benchmarks.chat_upstream` for what their names mean.

    Attributes:
        start_seconds: How long the chat service took from its start to SERVING.
    """

    def __init__(self, folder: Path, models: Sequence[str]) -> None:
        self._folder = folder
        self._models = models
        self._upstream: subprocess.Popen[str] | None = None
        self._cluster: Cluster | None = None
        self._address = {"direct": "", "router": "", "chat": ""}
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        self._upstream = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.chat_upstream"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        output: IO[str] | None = self._upstream.stdout
        assert output is not None
        file = self._configuration(int(output.readline()))
        services = file.configuration.services
        self._address["router"], self._address["chat"] = services.router.listen, services.chat.listen
        self._cluster = Cluster(file, logs=self._folder)
        try:
            began = time.perf_counter()
            child = self._cluster.start("chat", services.chat.listen)
            while not child.serving():
                self._cluster.check_alive()
            self.start_seconds = time.perf_counter() - began
            self._cluster.start("router", services.router.listen).health = ("inglenook.chat.v1.ChatService",)
            self._cluster.wait_until_serving(START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            self._cluster.stop()
        if self._upstream is not None and self._upstream.stdin is not None:
            self._upstream.stdin.close()
            self._upstream.wait()

    def load(self, way: str, model: str, *, calls: int, callers: int, seconds: float = 5.0) -> Tally:
        """Make calls from another process: through the router, or directly to the provider."""
        command = [sys.executable, "-m", "benchmarks.chat_load", "--way", way, "--model", model]
        command += ["--address", self._address["direct" if way in {"direct", "httpx2"} else "router"]]
        command += ["--calls", str(calls), "--callers", str(callers), "--seconds", str(seconds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        tally = Tally(**json.loads(done.stdout))
        if tally.failures:
            message = f"{len(tally.failures)} calls failed, the first with {tally.failures[0]}"
            raise RuntimeError(message)
        return tally

    def resident_megabytes(self, name: str) -> float:
        """Return how much memory a service has now."""
        status = Path(f"/proc/{self._child(name).process.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmRSS"].split()[0]) * 1024 / MEGABYTE

    def _child(self, name: str) -> Child:
        assert self._cluster is not None
        return next(child for child in self._cluster.children if child.name == name)

    def _configuration(self, upstream: int) -> ConfigurationFile:
        self._address["direct"] = f"127.0.0.1:{upstream}"
        path = self._folder / "inglenook.toml"
        content = CONFIGURATION.format(
            models="\n".join(MODEL.format(name=name) for name in self._models),
            upstream=upstream,
            **free_ports("listen", "router", "router_metrics", "metrics"),
        )
        path.write_text(content, encoding="utf-8")
        return load(path)
