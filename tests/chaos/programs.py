"""The processes of the cluster that is hurt: each can be signalled, waited for and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.cli.client import serves
from services.config import environment
from tests.support.polling import until
from tests.support.processes import ROOT

STOP_SECONDS: Final = 20


@dataclass(slots=True)
class Program:
    """A process.

    Attributes:
        name: What it is called in tables.
        listen: Where its gRPC server listens.
        metrics: Where its metrics are.
        service: The gRPC service whose health says that it serves.
        module: What it runs.
        arguments: With what.
        folder: Where its log and its control file are.
        process: The process; None before it was started.
    """

    name: str
    listen: str
    metrics: str
    service: str
    module: str
    arguments: Sequence[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> Path:
        """The file that says what a hash backend does."""
        return self.folder / f"{self.name}.mode"

    @property
    def log(self) -> Path:
        """The file that has its standard error."""
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Start it, or start it again at the same address."""
        command = [sys.executable, "-m", self.module, *self.arguments, "--listen", self.listen]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--metrics-listen", self.metrics],
                stderr=output,
                cwd=ROOT,
                env=environment.child_environment(),
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait until it has ended."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, STOP_SECONDS)

    async def serving(self) -> None:
        """Wait until it says SERVING; fail if it has ended instead."""

        async def look() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
            return await asyncio.to_thread(serves, self.listen, self.service)

        await until(look)

    def end(self) -> None:
        """End it, however it is."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
