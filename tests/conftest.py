"""What every test runs under: no network but loopback, caches in a folder of their own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.config import environment

environment.prepare_native_libraries()  # before any test module imports gRPC

LOOPBACK = ("127.", "::1", "localhost")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make chaos` and `make fuzz` do at length what `make test` does in short."""
    parser.addoption("--chaos-seconds", type=float, default=0.6, help="how long each fault lasts")
    parser.addoption("--fuzz-messages", type=int, default=120, help="messages of each sort for each method")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Let no test connect to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not str(address[0]).startswith(LOOPBACK):
            message = f"a test tried to reach {address}"
            raise AssertionError(message)
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[assignment,method-assign]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep built graphs and calibrations of all tests in one new folder, child processes included."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get(environment.CACHE_VARIABLE)
    os.environ[environment.CACHE_VARIABLE] = str(folder)
    yield folder
    if before is None:
        del os.environ[environment.CACHE_VARIABLE]
    else:
        os.environ[environment.CACHE_VARIABLE] = before
