"""Whole clusters of real processes, with a tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.cli.cluster import Cluster
from services.config import ConfigurationFile
from tests.support.configuration import write_configuration
from tests.support.tiny import write_model

START_SECONDS = 30


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def start_cluster(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Iterator[Callable[..., Cluster]]:
    """Return what starts a cluster and waits until it serves; all of them are stopped at the end."""
    with ExitStack() as stack:

        def start(*, replicas: int = 1, more: str = "") -> Cluster:
            folder = tmp_path_factory.mktemp("cluster")
            file: ConfigurationFile = write_configuration(folder, tiny_model, replicas=replicas, more=more)
            cluster = stack.enter_context(Cluster(file, logs=folder))
            cluster.start_all()
            cluster.wait_until_serving(START_SECONDS)
            return cluster

        yield start
