"""An address that swallows attempts to connect: neither accepted nor refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYN_SENT: Final = "02"
"""State of a socket that waits for its connection, in /proc/net/tcp."""


@dataclass(frozen=True)
class Blackhole:
    """The address.

    Attributes:
        port: Its port on loopback.
    """

    port: int

    @property
    def url(self) -> str:
        """Address without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def waiting(self) -> int:
        """How many sockets of this process wait for a connection to it."""
        lines = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        entries = [line.split() for line in lines]
        return sum(entry[2].endswith(f":{self.port:04X}") and entry[3] == SYN_SENT for entry in entries)


@contextmanager
def blackhole() -> Iterator[Blackhole]:
    """Listen without accepting, with the one place in the queue taken: Linux then drops what comes."""
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        yield Blackhole(listening.getsockname()[1])
