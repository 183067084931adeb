"""One set of processes for all of these tests, and the table of what came back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fuzz.campaign import OUTCOMES, table
from tests.fuzz.cluster import Fuzzed, fuzzed_cluster


@pytest.fixture(scope="session")
async def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fuzzed]:
    """Run the processes."""
    async with fuzzed_cluster(tmp_path_factory.mktemp("fuzz")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> int:
    """Return how many messages of each sort are sent to each method."""
    return int(pytestconfig.getoption("--fuzz-messages"))


@pytest.fixture(scope="session")
def start(pytestconfig: pytest.Config) -> int:
    """Return the seed, which is that of the whole run: `--randomly-seed=...` repeats it."""
    return int(pytestconfig.getoption("randomly_seed", 7))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if OUTCOMES:
        terminalreporter.section("what messages were answered with")
        for line in table():
            terminalreporter.write_line(line)
