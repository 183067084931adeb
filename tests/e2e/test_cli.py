"""The tool `inglenook`, as a person or a script runs it: a process of its own against a real cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.cluster import Cluster
from services.config import ConfigurationFile
from tests.support.configuration import write_configuration
from tests.support.tool import SECONDS, answer, run


@pytest.fixture(scope="module")
def file(start_cluster: Callable[..., Cluster]) -> ConfigurationFile:
    """Return the configuration of a cluster that runs."""
    return start_cluster().file


def test_status_shows_capabilities_and_backends(file: ConfigurationFile) -> None:
    """An operator sees at a glance what is available and which replica answers."""
    done = run(file, "status")
    assert done.returncode == 0
    assert "embed       yes" in done.stdout
    assert file.configuration.backends["embed"].endpoints[0] in done.stdout
    document = answer(file, "status")
    assert {one["capability"]: one["available"] for one in document["capabilities"]}["CAPABILITY_EMBED"]
    assert document["backends"][0]["state"] == "BACKEND_STATE_HEALTHY"


def test_models_list_shows_what_each_model_is_doing(file: ConfigurationFile) -> None:
    """The list says name, state and size, and can be narrowed to a capability."""
    assert "tiny" in run(file, "models", "list").stdout
    (model,) = answer(file, "models", "list")["models"]
    assert (model["name"], model["state"], model["dimensions"]) == ("tiny", "MODEL_STATE_READY", 32)
    assert answer(file, "models", "list", "--capability", "chat")["models"] == []


def test_embed_prints_whole_embeddings_as_json(file: ConfigurationFile) -> None:
    """A script gets every number, who answered, and what it cost."""
    document = answer(file, "embed", "the cat", "a dog", "--dimensions", "8")
    assert [len(one["values"]) for one in document["embeddings"]] == [8, 8]
    assert document["servedBy"].startswith("embed@")
    assert int(document["usage"]["inputTokens"]) > 0


def test_embed_reads_a_text_per_line_from_standard_input(file: ConfigurationFile) -> None:
    """It can stand at the end of a pipe."""
    done = run(file, "embed", given="the cat\n\na dog runs\n")
    assert done.returncode == 0, done.stderr
    assert "the cat" in done.stdout
    assert "a dog runs" in done.stdout


def test_an_error_names_reason_and_field_and_fails_the_command(file: ConfigurationFile) -> None:
    """A script can branch on the exit code and on the reason."""
    done = run(file, "embed", "the cat", " ", "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 1
    assert error["reason"] == "INVALID_REQUEST"
    assert error["fields"] == [{"field": "inputs[1]", "problem": "must not be empty"}]
    assert "inputs[1] must not be empty" in run(file, "embed", "the cat", " ").stderr


def test_a_broken_configuration_is_told_whole_and_is_a_usage_error(tmp_path: Path) -> None:
    """Every problem of the file is shown, and the exit code is that of the services."""
    broken = tmp_path / "inglenook.toml"
    broken.write_text('[models.x]\ncapability = "embed"\nsauce = "dir:x"\n', encoding="utf-8")
    done = run(broken, "up")
    assert done.returncode == 2
    assert "models.x.sauce" in done.stderr
    assert "did you mean source?" in done.stderr


def test_an_argument_in_another_encoding_is_a_usage_error(tmp_path: Path) -> None:
    """It is told by its position, before anything is asked, and without a traceback."""
    done = run(tmp_path / "inglenook.toml", "embed", os.fsdecode(b"caf\xe9"))
    assert done.returncode == 2
    assert done.stderr == "error argument 2 is not UTF-8 text\n"


def test_demo_uses_the_router_that_answers(file: ConfigurationFile) -> None:
    """With a cluster running, the demo starts no other."""
    document = answer(file, "demo")
    assert document["router"] == f"{file.configuration.services.router.listen} (already running)"
    scores = [one["similarity"] for one in document["embed"]["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 6
    assert document["leftOut"] == ["rerank", "nli", "chat"]


def test_demo_starts_a_cluster_where_none_answers(tmp_path: Path, tiny_model: Path) -> None:
    """On a fresh machine one command is enough, and it leaves no process behind."""
    own = write_configuration(tmp_path, tiny_model)
    assert answer(own, "demo")["router"].endswith("(started for this demo)")
    assert run(own, "status").returncode == 1


def test_up_serves_until_it_is_interrupted(tmp_path: Path, tiny_model: Path) -> None:
    """The cluster in the foreground says where it listens, answers, and stops its services on Ctrl-C."""
    own = write_configuration(tmp_path, tiny_model)
    command = [sys.executable, "-m", "services.cli", "up", "--config", str(own.path)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            told = "".join(iter(process.stdout.readline, "\n"))  # up to the empty line below the table
            assert run(own, "status").returncode == 0
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    assert own.configuration.services.router.listen in told
    assert run(own, "status").returncode == 1


def test_up_fails_when_a_service_cannot_start(file: ConfigurationFile) -> None:
    """A port in use ends the command, with the log line that says so."""
    done = run(file, "up")
    assert done.returncode == 1
    assert "ended with exit code 1" in done.stderr
    assert "the port is in use" in done.stderr
