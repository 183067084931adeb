"""What README.md shows is run as it stands, against the sample configuration: lines and programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.cli.cluster import Cluster
from tests.support.minilm import write_sample_configuration
from tests.support.readme import console_commands, programs, section

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SECTION = "Debugging"
SHOWN_TOOL = ["npx", "buf"]
TOOL = str(ROOT / "node_modules" / ".bin" / "buf")
SHOWN_ROUTER = "127.0.0.1:50051"
START_SECONDS = 50
COMMAND_SECONDS = 20
DIMENSIONS = 384
CAPABILITIES = ["CAPABILITY_CHAT", "CAPABILITY_EMBED", "CAPABILITY_RERANK", "CAPABILITY_NLI"]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the cluster that `inglenook.toml` describes, and return where its router listens."""
    folder = tmp_path_factory.mktemp("sample")
    file = write_sample_configuration(folder)
    with Cluster(file, logs=folder) as cluster:
        cluster.start_all()
        cluster.wait_until_serving(START_SECONDS)
        yield file.configuration.services.router.listen


@pytest.fixture(scope="module")
def silent_router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a router without reflection, and without backends, and return where it listens."""
    folder = tmp_path_factory.mktemp("silent")
    file = write_sample_configuration(folder, reflection=False)
    listen = file.configuration.services.router.listen
    with Cluster(file, logs=folder) as cluster:
        cluster.start("router", listen)
        cluster.wait_until_serving(START_SECONDS)
        yield listen


def shown() -> list[list[str]]:
    """Return the arguments of each `npx buf` line in README's section on debugging."""
    commands = console_commands(section(README.read_text(encoding="utf-8"), SECTION))
    return [command[2:] for command in commands if command[:2] == SHOWN_TOOL]


def run(arguments: list[str], router: str) -> subprocess.CompletedProcess[str]:
    """Run a line as README shows it, except for the router's port."""
    assert any(SHOWN_ROUTER in argument for argument in arguments), f"calls something else: {arguments}"
    command = [TOOL, *(argument.replace(SHOWN_ROUTER, router) for argument in arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )


def output(arguments: list[str], router: str) -> str:
    """Run a line and return what it prints; it must not fail."""
    result = run(arguments, router)
    assert result.returncode == 0, f"{arguments}\n{result.stdout}{result.stderr}"
    return result.stdout


def check_embeddings(answer: dict[str, Any]) -> None:
    """Make sure that this is one whole embedding of the sample model, with how it was made."""
    assert [len(embedding["values"]) for embedding in answer["embeddings"]] == [DIMENSIONS]
    assert sum(value**2 for value in answer["embeddings"][0]["values"]) == pytest.approx(1, abs=1e-4)
    assert answer["model"] == "minilm"
    assert int(answer["usage"]["inputTokens"]) > 2
    assert set(answer["timings"]) == {"totalTime", "queueTime", "tokenizeTime", "inferenceTime"}


def check_ranking(answer: dict[str, Any]) -> None:
    """Make sure that the documents are in a sensible order, with scores."""
    scores = [result["score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["results"][0].get("index", 0) == 0  # the one about embers
    assert answer["model"] == "minilm-rerank"


def check_classification(answer: dict[str, Any]) -> None:
    """Make sure that every label has a score, and that the scores of the text add up to 1."""
    (result,) = answer["results"]
    assert sum(one["score"] for one in result["scores"]) == pytest.approx(1, abs=1e-4)
    assert answer["model"] == "minilm-nli"


def check_backends(answer: dict[str, Any]) -> None:
    """Make sure that there is a healthy backend for each capability."""
    assert [backend["capability"] for backend in answer["backends"]] == CAPABILITIES
    for backend in answer["backends"]:
        assert backend["state"] == "BACKEND_STATE_HEALTHY"
        assert backend["endpoint"].startswith("127.0.0.1:")


def check_status(answer: dict[str, Any]) -> None:
    """Make sure that the router reports what it can do."""
    available = [one["capability"] for one in answer["capabilities"] if one.get("available")]
    assert available == CAPABILITIES


def check_models(answer: dict[str, Any]) -> None:
    """Make sure that the sample models are listed, and that those that run here are ready."""
    assert "assistant" in {model["name"] for model in answer["models"]}
    here = [model for model in answer["models"] if not model.get("targets")]
    assert {model["name"]: model["state"] for model in here} == dict.fromkeys(
        ("minilm", "minilm-rerank", "minilm-nli"), "MODEL_STATE_READY"
    )


def check_health(answer: dict[str, Any]) -> None:
    """Make sure that the standard health protocol says SERVING."""
    assert answer == {"status": "SERVING"}


CHECKS = {
    "grpc.health.v1.Health/Check": check_health,
    "inglenook.embed.v1.EmbedService/Embed": check_embeddings,
    "inglenook.nli.v1.NliService/Classify": check_classification,
    "inglenook.rerank.v1.RerankService/Rerank": check_ranking,
    "inglenook.router.v1.RouterService/ListBackends": check_backends,
    "inglenook.router.v1.RouterService/GetStatus": check_status,
    "inglenook.model.v1.ModelService/ListModels": check_models,
}


def test_readme_shows_both_ways_to_debug() -> None:
    """At least three lines; one asks the router for its schema, another brings the descriptor set along."""
    commands = shown()
    assert len(commands) >= 3
    calls = [command for command in commands if "--list-methods" not in command]
    assert [command for command in calls if "--schema" not in command], "none uses reflection"
    assert [command for command in calls if "proto/inglenook.binpb" in command], "none uses the descriptors"
    assert [command for command in calls if command[-1].endswith("EmbedService/Embed")], "none embeds"


def test_every_debugging_line_of_readme_works(router: str) -> None:
    """Whoever copies a line gets an answer that makes sense, not an error about schemas or protocols."""
    for arguments in shown():
        printed = output(arguments, router)
        method = arguments[-1].removeprefix(f"http://{SHOWN_ROUTER}").strip("/")
        if "--list-methods" in arguments:
            assert set(CHECKS) <= set(printed.split())
        elif method in CHECKS:
            CHECKS[method](json.loads(printed))
        else:
            assert json.loads(printed), f"{method} answered with nothing"


def test_lines_with_the_descriptor_set_work_where_reflection_is_off(silent_router: str) -> None:
    """A router in production keeps its schema to itself; README's other way needs nothing from it."""
    with_schema = [arguments for arguments in shown() if "--schema" in arguments]
    for arguments in with_schema:
        assert json.loads(output(arguments, silent_router))
    (listing, *_) = (arguments for arguments in shown() if "--list-methods" in arguments)
    assert run(listing, silent_router).returncode != 0


@pytest.mark.parametrize("page", ["README.md", "proto/README.md"])
def test_every_program_of_the_readmes_works(router: str, page: str) -> None:
    """The first thing that a developer copies is the example; it must print what it says."""
    shown_programs = programs((ROOT / page).read_text(encoding="utf-8"))
    assert shown_programs
    for program in shown_programs:
        called = program.replace(SHOWN_ROUTER, router).replace("localhost:50051", router)
        assert called != program, "calls something else"
        command = [sys.executable, "-W", "error", "-c", called]
        result = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        assert result.returncode == 0, result.stderr
        assert f"{DIMENSIONS} dimensions" in result.stdout
