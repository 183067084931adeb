"""Whole clusters of real processes, with a tiny model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.cli.cluster import Cluster
from services.config import ConfigurationFile
from tests.support.client_cluster import ClientCluster, client_cluster
from tests.support.configuration import describe_model, write_cluster, write_configuration
from tests.support.stage import Stage, staged_from
from tests.support.tiny import write_model
from tests.support.zero_shot import write_nli_model

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


@pytest.fixture(scope="session")
def all_models(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> str:
    """Return the sections of models of every capability, those of one capability not side by side.

    Two embed (`small`, `other`), two rerank (`cross`, `bi`) and one that infers (`judge`).
    """
    folder = tmp_path_factory.mktemp("models")
    ranker = write_model(folder / "ranker", pooling=None, labels=1)
    judge = write_nli_model(folder / "judge", "contradiction", "entailment", "neutral")
    return "".join(
        [
            describe_model("nli", "judge", judge),
            describe_model("embed", "small", tiny_model),
            describe_model("rerank", "cross", ranker),
            describe_model("embed", "other", write_model(folder / "other", seed=8)),
            describe_model("rerank", "bi", tiny_model, 'kind = "bi-encoder"'),
        ]
    )


@pytest.fixture(scope="session")
async def whole_cluster(tmp_path_factory: pytest.TempPathFactory, all_models: str) -> AsyncIterator[Stage]:
    """Run a router and a service of each capability, for tests that leave them as they are."""
    folder, services = tmp_path_factory.mktemp("cluster"), {"embed": 1, "rerank": 1, "nli": 1}
    async with staged_from(write_cluster(folder, all_models, services)) as stage:
        yield stage


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientCluster]:
    """Run the cluster of `make up`, for clients that leave it as it is."""
    with client_cluster(tmp_path_factory.mktemp("clients")) as cluster:
        yield cluster
