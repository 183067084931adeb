"""Sockets that misbehave."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Return the port of a socket that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]
