"""`inglenook demo`: finds or starts a cluster, and shows what it can do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from inglenook.common.v1 import Truncation

from services.cli.client import CallFailed, Client, Means, connect, router_address, serves
from services.cli.cluster import Cluster, ClusterFailed
from services.cli.commands.demo import steps, telling
from services.cli.commands.demo.talking import chat
from services.cli.commands.up import START_SECONDS
from services.cli.console import EXIT_MISCONFIGURED, Output
from services.cli.session import (
    TIMEOUT_SECONDS,
    AsJson,
    ConfigPath,
    Timeout,
    fail_with,
    find_means,
    read_configuration,
)
from services.config import Capability, Configuration, ConfigurationFile, RemoteEmbedModel

Step = TypeVar("Step")

SHOWN: Final[tuple[tuple[Capability, str], ...]] = (
    ("embed", "embed"),
    ("rerank", "rerank"),
    ("nli", "infer and classify"),
    ("chat", "chat"),
)
"""The capabilities that the demo shows, and what it calls the showing of each."""


def demo(config: ConfigPath = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: AsJson = False) -> None:
    """Show on everyday texts what the cluster can do: embed, rerank, infer and classify, and chat.

    Without an Ollama, or anything else to chat with, it says what to install.

    Uses the router that the configuration names if it answers; else starts a cluster for the time being.
    """
    output = Output(as_json=as_json)
    file = read_configuration(output, config)
    models = _models(output, file.configuration)
    address = router_address(file.configuration)
    try:
        means = find_means(output, file.configuration, address)
        with _a_cluster(output, file, address, means) as whose:
            router = f"{address} ({whose})"
            output.show(f"router     {router}")
            with connect(address, timeout, means) as client:
                told = _show(output, client, file.configuration, models)
    except ClusterFailed as error:
        output.fail(str(error))
    except CallFailed as error:
        fail_with(output, error)
    missing = [capability for capability, _ in SHOWN if capability not in models]
    for capability, name in SHOWN:
        if capability in missing:
            output.show("", f"[dim]{name}: left out, {file.path.name} routes no {capability} model[/]")
    output.json({"router": router, **told, "leftOut": missing})


def _models(output: Output, configuration: Configuration) -> dict[Capability, str]:
    """Return the first model of each capability that has a route; without any the demo ends."""
    models: dict[Capability, str] = {}
    for name, section in configuration.models.items():
        if section.capability in configuration.routes:
            models.setdefault(section.capability, name)
    if not models:
        output.fail("the configuration has no model with a route: nothing to show", EXIT_MISCONFIGURED)
    return models


def _show(
    output: Output, client: Client, configuration: Configuration, models: dict[Capability, str]
) -> dict[str, Any]:
    """Do the steps that there are models for, and tell each at once."""

    def done(doing: str, step: Callable[[Client, str], Step], model: str) -> Step:
        with output.progress(doing):
            return step(client, model)

    told: dict[str, Any] = {}
    if model := models.get("embed"):
        remote = isinstance(configuration.models[model], RemoteEmbedModel)
        step = partial(steps.embed, truncation=Truncation.TRUNCATION_NONE) if remote else steps.embed
        told["embed"] = telling.tell_embedded(output, done("embedding", step, model))
    if model := models.get("rerank"):
        told["rerank"] = telling.tell_reranked(output, done("reranking", steps.rerank, model))
    if model := models.get("nli"):
        told["infer"] = telling.tell_inferred(output, done("judging", steps.infer, model))
        told["classify"] = telling.tell_classified(output, done("classifying", steps.classify, model))
    if "chat" in models:
        told["chat"] = chat(output, client, configuration)
    return told


@contextmanager
def _a_cluster(output: Output, file: ConfigurationFile, address: str, means: Means) -> Iterator[str]:
    """Provide a router at `address`; yield whose it is."""
    if serves(address, tls=means.tls):
        yield "already running"
        return
    with (
        tempfile.TemporaryDirectory(prefix="inglenook-demo-") as logs,
        Cluster(file, logs=Path(logs), arguments=("--drain-seconds", "0")) as cluster,
    ):
        with output.progress("starting a cluster") as tell:
            cluster.start_all()
            cluster.wait_until_serving(START_SECONDS, tell)
        yield "started for this demo"
