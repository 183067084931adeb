"""Service processes of their own, and what they log."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.polling import until

ROOT = Path(__file__).parents[2]

CONFIGURATION = """
[services.embed]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"

[shutdown]
drain_seconds = {drain}
grace_seconds = {grace}
flush_seconds = 0.5
"""


def write_settings(folder: Path, *, drain: float = 0.0, grace: float = 5.0, more: str = "") -> Path:
    """Write a configuration without models and return its path."""
    path = folder / "inglenook.toml"
    path.write_text(CONFIGURATION.format(drain=drain, grace=grace) + more, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Running:
    """A process that was started, and the file that has its standard error."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """Return what it has written."""
        return self.log.read_text(encoding="utf-8")

    def entries(self) -> list[dict[str, Any]]:
        """Return what it has logged."""
        lines = self.text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    async def logged(self, message: str) -> dict[str, Any]:
        """Wait for a log entry, and return it."""

        async def find() -> dict[str, Any]:
            return next((entry for entry in self.entries() if entry["message"] == message), {})

        return await until(find)

    async def wrote(self, text: str) -> None:
        """Wait until it has written that, in whatever format."""

        async def find() -> bool:
            return text in self.text()

        await until(find)

    async def address(self) -> str:
        """Wait until it listens, and return where."""
        return str((await self.logged("listening"))["address"])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait until it has ended."""
        return await asyncio.to_thread(self.process.wait, 20)


@contextmanager
def started(module: str, arguments: Sequence[str], folder: Path) -> Iterator[Running]:
    """Run `python -m module`; what is left of it at the end is killed."""
    log = folder / f"{module.rpartition('.')[2]}-{len(list(folder.iterdir()))}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], stderr=output, cwd=ROOT)
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def echo_service(folder: Path, configuration: Path, how: str = "serving", *more: str) -> Iterator[Running]:
    """Run `tests.support.echo_service`."""
    arguments = [how, "--config", str(configuration), *more]
    with started("tests.support.echo_service", arguments, folder) as running:
        yield running
