"""One cluster for all of these tests, and the table of what each fault has cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.cluster import ENGINES, Hurt, hurt_cluster
from tests.chaos.phases import ROWS, table
from tests.support.redis_server import redis_server

AT_LENGTH_SECONDS = 2.0
"""With faults of so many seconds, there is time for all of them."""


@pytest.fixture(scope="session")
async def hurt(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hurt]:
    """Run the cluster. Every test leaves it as well as it was."""
    folder: Path = tmp_path_factory.mktemp("chaos")
    with redis_server(folder) as redis:
        async with hurt_cluster(folder, redis) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def seconds(pytestconfig: pytest.Config) -> float:
    """Return how long a fault lasts."""
    return float(pytestconfig.getoption("--chaos-seconds"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hurt the engines all at once where time is short, and else one after the other, too."""
    if "victims" in metafunc.fixturenames:
        at_length = metafunc.config.getoption("--chaos-seconds") >= AT_LENGTH_SECONDS
        victims = [f"{name}-1" for name in ENGINES]
        groups = [[victim] for victim in victims] if at_length else []
        metafunc.parametrize("victims", [*groups, victims], ids="+".join)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if ROWS:
        terminalreporter.section("what each fault has cost")
        for line in table():
            terminalreporter.write_line(line)
