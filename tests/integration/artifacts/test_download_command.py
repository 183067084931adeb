"""`inglenook models download`, as a person and as a program."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from services.artifacts import Wanted
from services.artifacts.hub_client import Transfer
from services.cli.commands.download import Bars, Need
from services.cli.console import Output
from tests.support.hub_repository import COMMIT, WEIGHTS, adapter
from tests.support.hub_server import HubServer
from tests.support.processes import ROOT

FILE = """
[hub]
endpoint = "{endpoint}"

[models.first]
capability = "embed"
source = "hf:org/model"
revision = "{commit}"

[models.second]
capability = "rerank"
source = "hf:org/model"
revision = "{commit}"
adapter = "hf:org/adapter"
adapter_revision = "{commit}"

[models.folder]
capability = "embed"
source = "dir:here"

[models.talker]
capability = "chat"
targets = ["ollama/x"]

[models.gone]
capability = "nli"
source = "hf:org/gone"
revision = "{commit}"
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(hub: HubServer, tmp_path: Path) -> Run:
    """What runs the command with a file that names models of the hub."""
    hub.repositories["org/adapter"] = adapter()
    path = tmp_path / "inglenook.toml"
    path.write_text(FILE.format(endpoint=hub.url, commit=COMMIT), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-m", "services.cli", "models", "download", "--config", str(path)]

    def run_it(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env={**inherited, "HF_HOME": str(tmp_path / "home"), "INGLENOOK_CACHE": str(tmp_path / "ours")},
            check=False,
            capture_output=True,
            text=True,
        )

    return run_it


def read(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the document that was printed."""
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_named_models_are_downloaded_and_shown(run: Run, tmp_path: Path) -> None:
    """The table says what is where; without a terminal there are no bars."""
    ran = run("first", "folder")

    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0].split() == ["MODEL", "SOURCE", "REVISION", "SIZE", "SHA256", "FOLDER"]
    assert lines[1].split()[:6] == ["first", "hf:org/model", COMMIT[:12], "0.3", "MB", "checked"]
    assert "needs no download" in ran.stdout
    snapshot = tmp_path / "home/hub/models--org--model/snapshots" / COMMIT
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS


def test_model_that_providers_run_has_nothing_to_download(run: Run) -> None:
    """Naming it is no mistake: the others that were named are downloaded."""
    ran = run("talker")
    assert (ran.returncode, ran.stdout) == (0, "nothing to download\n")
    assert ran.stderr == "talker has no files here: providers run it\n"
    both = run("talker", "folder", "--json")
    assert [one["model"] for one in read(both)["models"]] == ["folder"]


def test_programs_get_folders_sizes_and_hashes(run: Run, hub: HubServer, tmp_path: Path) -> None:
    """A model with an adapter needs two repositories."""
    ran = run("second", "--json")

    model, added = read(ran)["models"]
    assert ran.returncode == 0
    assert (model["model"], model["kind"], model["state"]) == ("second", "model", "checked")
    assert (added["model"], added["kind"], added["source"]) == ("second", "adapter", "hf:org/adapter")
    sha256 = hub.repositories["org/model"].sha256("model.safetensors")
    assert model["files"]["model.safetensors"] == {"sha256": sha256, "bytes": len(WEIGHTS)}
    assert model["folder"] == str(tmp_path / "home/hub/models--org--model/snapshots" / COMMIT)


def test_failure_of_one_model_keeps_no_other_from_being_downloaded(run: Run) -> None:
    """Without names it is all of them; the exit status and the document say that one failed."""
    ran = run("--json")

    error = read(ran)["error"]
    assert ran.returncode == 1
    assert error["message"].startswith("gone: ")
    assert [(one["model"], one["state"]) for one in error["models"]] == [
        ("first", "checked"),
        ("second", "checked"),
        ("second", "checked"),
        ("gone", "failed"),
    ]


def test_failure_is_told_to_people_beside_what_succeeded(run: Run) -> None:
    """The table comes first, the reason below it."""
    ran = run("first", "gone")

    assert ran.returncode == 1
    assert "checked" in ran.stdout
    assert "failed" in ran.stdout
    assert "shows no repository org/gone" in ran.stderr


def test_unknown_name_lists_those_that_there_are(run: Run, hub: HubServer) -> None:
    """Nothing is downloaded for a misspelt name."""
    ran = run("first", "secnod", "--json")

    error = read(ran)["error"]
    assert ran.returncode == 1
    assert error["unknown"] == ["secnod"]
    assert error["message"].endswith("has no model secnod; it has first, second, folder, talker, gone")
    assert hub.seen == []


def test_bars_show_how_far_every_file_is() -> None:
    """On a terminal, each file has a bar with its name, and what is said stands above them."""
    console = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    with Progress(console=console) as progress:
        bars = Bars(progress, Output(as_json=False))
        bars.begin(Need("first", Wanted("hf:org/model", COMMIT)))
        bars.transfer(Transfer("model.safetensors", 0, 100))
        bars.transfer(Transfer("model.safetensors", 40, 100))
        bars.note("using what is here [of it]")
        (task,) = progress.tasks

    assert (task.description, task.completed, task.total) == ("first  model.safetensors", 40, 100)
    assert "using what is here [of it]" in console.export_text()
