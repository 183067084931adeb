"""Which processes a configuration asks for, and when one of them counts as ready."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from inglenook.common.v1 import ModelInfo, ModelState
from inglenook.model.v1 import ListModelsRequest, ListModelsResponse

from services.cli.capabilities import ENGINES, PROCESSES, SERVICES
from services.cli.cluster import Child, Cluster
from services.config import load
from tests.support.configuration import free_addresses
from tests.unit.cli.canned import CannedRouter, serving_only

FAILED = ModelState.MODEL_STATE_FAILED
LOADING = ModelState.MODEL_STATE_LOADING
READY = ModelState.MODEL_STATE_READY

EMBED, CHAT = "127.0.0.1:50053", "127.0.0.1:50052"

MODELS = """
[models.small]
capability = "embed"
source = "dir:x"

[models.ranker]
capability = "rerank"
source = "dir:x"
preload = false

[backends.twins]
endpoints = ["127.0.0.1:6001", "127.0.0.1:6002"]

[routes]
embed = ["embed"]
rerank = ["twins"]
nli = ["nli"]
"""

EMBEDDERS_AND_TALKER = {
    "here": 'capability = "embed"\nsource = "dir:x"',
    "there": 'capability = "embed"\ntargets = ["ollama/x"]',
    "talker": 'capability = "chat"\ntargets = ["ollama/x"]',
}


def cluster(folder: Path, text: str) -> Cluster:
    """Return a cluster of which nothing runs."""
    path = folder / "inglenook.toml"
    path.write_text(text, encoding="utf-8")
    return Cluster(load(path))


def test_a_service_runs_wherever_its_route_leads_on_this_host(tmp_path: Path) -> None:
    """Each capability with a model and a route gets a process per endpoint; one without a model gets none."""
    wanted = cluster(tmp_path, MODELS)
    assert {name: list(wanted.endpoints(name)) for name in PROCESSES} == {
        "embed": ["127.0.0.1:50053"],
        "rerank": ["127.0.0.1:6001", "127.0.0.1:6002"],
        "nli": [],
        "chat": [],
    }


@pytest.mark.parametrize(
    ("models", "route", "places", "answers"),
    [
        ("there talker", "chat", ([], [CHAT]), ["chat", "embed"]),
        ("there", "chat", ([], [CHAT]), ["embed"]),
        ("there talker", "embed", ([], [CHAT, EMBED]), ["chat", "embed"]),
        ("here talker", "embed", ([EMBED], [CHAT]), ["chat"]),
        ("here there talker", "embed", ([EMBED], [CHAT]), ["chat"]),
        ("here there talker", "chat", ([], [CHAT]), ["chat", "embed"]),
        ("here there", "embed", ([EMBED], []), []),
    ],
)
def test_chat_runs_wherever_a_route_leads_whose_models_providers_run(
    tmp_path: Path, models: str, route: str, places: tuple[list[str], list[str]], answers: list[str]
) -> None:
    """An embedding model may run here or at providers, and the route of embed leads to one of the two."""
    tables = [f"[models.{name}]\n{EMBEDDERS_AND_TALKER[name]}\n" for name in models.split()]
    wanted = cluster(tmp_path, "".join([*tables, f'[routes]\nchat = ["chat"]\nembed = ["{route}"]\n']))
    assert (wanted.endpoints("embed"), wanted.endpoints("chat")) == places
    assert wanted.capabilities_of("chat") == answers


def test_models_of_providers_without_a_route_start_nothing(tmp_path: Path) -> None:
    """As for models that run here: nobody could reach them through the router."""
    wanted = cluster(tmp_path, '[models.talker]\ncapability = "chat"\ntargets = ["ollama/x"]\n')
    assert [list(wanted.endpoints(name)) for name in PROCESSES] == [[]] * len(PROCESSES)


def test_chat_is_waited_for_whatever_becomes_of_models(tmp_path: Path) -> None:
    """Its models are in no memory of ours: it serves from the start, and no failed load ends the wait."""
    text = '[models.talker]\ncapability = "chat"\ntargets = ["ollama/x"]\n[engine]\non_demand = "never"\n'
    assert cluster(tmp_path, text).serves_from_the_start("chat")
    assert "chat" not in ENGINES


def test_replicas_that_somebody_else_runs_are_not_started(tmp_path: Path) -> None:
    """A DNS name stands for processes on other machines."""
    remote = MODELS.replace('["127.0.0.1:6001", "127.0.0.1:6002"]', '["rerank.example:6001"]')
    assert list(cluster(tmp_path, remote).endpoints("rerank")) == []


@pytest.mark.parametrize(
    ("on_demand", "embed", "rerank"),
    [("wait", True, True), ("retry", True, True), ("never", True, False)],
)
def test_a_service_that_waits_to_be_told_what_to_load_is_not_waited_for(
    tmp_path: Path, on_demand: str, embed: bool, rerank: bool
) -> None:
    """It serves only after LoadModel, so a cluster that waited for it would never be up."""
    wanted = cluster(tmp_path, f'{MODELS}\n[engine]\non_demand = "{on_demand}"\n')
    assert wanted.serves_from_the_start("embed") is embed
    assert wanted.serves_from_the_start("rerank") is rerank


def test_a_process_is_ready_when_all_of_its_services_are(tmp_path: Path) -> None:
    """A router that reaches one of two backends is not ready yet."""
    embed, rerank = SERVICES["embed"], SERVICES["rerank"]
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        with serving_only([embed]) as address:
            assert Child("router", address, process, None, health=(embed,)).serving()
            assert not Child("router", address, process, None, health=(embed, rerank)).serving()
            assert not Child("router", address, process, None).serving()
        with serving_only([embed, rerank]) as address:
            assert Child("router", address, process, None, health=(embed, rerank)).serving()


@pytest.mark.parametrize(
    ("states", "despair"),
    [
        ([FAILED, FAILED], "model m0: no file 0\nmodel m1: no file 1"),
        ([FAILED, LOADING], ""),
        ([FAILED, READY], ""),
        ([], ""),
    ],
)
def test_a_service_is_beyond_hope_when_each_of_its_models_has_failed(
    router: CannedRouter, states: list[ModelState.ValueType], despair: str
) -> None:
    """As long as one model may answer, waiting makes sense."""
    models = [
        ModelInfo(name=f"m{index}", state=state, state_detail=f"no file {index}")
        for index, state in enumerate(states)
    ]
    router.on(ListModelsRequest, lambda _: ListModelsResponse(models=models))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert Child("nli", router.address, process, None).despair() == despair
        assert Child("router", router.address, process, None).despair() == ""


def test_a_service_that_does_not_answer_yet_is_not_given_up() -> None:
    """A process that has not begun to listen may still become ready."""
    (address,) = free_addresses(1)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert Child("nli", address, process, None).despair() == ""
