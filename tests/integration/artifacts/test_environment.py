"""The environment variables of the hub's own tools do here what they do there, and nothing reaches stderr."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_repository import COMMIT, WEIGHTS
from tests.support.hub_server import Fault, HubServer
from tests.support.polling import until
from tests.support.processes import ROOT

PROGRAM = """
import json, logging, sys
from pathlib import Path
from services.artifacts import ArtifactProblem, Origins, Wanted, locate
from services.config import Hub

logging.basicConfig(level=logging.INFO)
settings, source, folder, revision = json.loads(sys.argv[1]), *sys.argv[2:]
try:
    origins = Origins(Path(folder), Path(folder, "ours"), Hub(**settings))
    said = {"folder": str(locate(Wanted(source, revision or None), origins))}
except ArtifactProblem as problem:
    said = {"problem": str(problem)}
heavy = {"huggingface_hub", "httpx2", "numpy", "onnxruntime"}
said["modules"] = sorted(heavy & set(sys.modules))
sys.stdout.write(json.dumps(said))
"""


@dataclass
class Elsewhere:
    """Locates models in processes of their own.

    Attributes:
        folder: Where such a process keeps everything.
        stderr: What the last one wrote there.
    """

    folder: Path
    stderr: str = ""

    def __call__(
        self,
        variables: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
        source: str = "hf:org/model",
        revision: str = COMMIT,
    ) -> dict[str, Any]:
        """Locate a model and return what came of it."""
        process = self.start(variables, settings, source, revision)
        stdout, self.stderr = process.communicate()
        assert process.returncode == 0, self.stderr
        said: dict[str, Any] = json.loads(stdout)
        return said

    def start(
        self,
        variables: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
        source: str = "hf:org/model",
        revision: str = COMMIT,
    ) -> subprocess.Popen[str]:
        """Return a process that locates a model."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(settings or {}), source, str(self.folder), revision],
            cwd=ROOT,
            env={**inherited, "HF_HOME": str(self.folder / "home"), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    """What locates models in processes of their own."""
    return Elsewhere(tmp_path)


def test_variables_of_the_hubs_tools_are_followed(hub: HubServer, elsewhere: Elsewhere) -> None:
    """HF_ENDPOINT names the mirror, HF_HOME the cache, and HF_TOKEN is sent to the hub alone."""
    hub.repositories["org/model"].token = "hf_secret"

    said = elsewhere({"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"})

    snapshot = elsewhere.folder / "home/hub/models--org--model/snapshots" / COMMIT
    assert said["folder"] == str(snapshot)
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert {one.token for one in hub.seen if one.cdn} == {None}


def test_cache_of_its_own_is_followed(hub: HubServer, elsewhere: Elsewhere, tmp_path: Path) -> None:
    """HF_HUB_CACHE moves the downloads and nothing else."""
    said = elsewhere({"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "large-disk")})

    assert Path(said["folder"]).is_relative_to(tmp_path / "large-disk")


def test_login_of_the_hubs_tools_is_used(hub: HubServer, elsewhere: Elsewhere) -> None:
    """Who is logged in needs no setting."""
    hub.repositories["org/model"].token = "hf_secret"
    (elsewhere.folder / "home").mkdir()
    (elsewhere.folder / "home/token").write_text("hf_secret\n", encoding="utf-8")

    assert "folder" in elsewhere({"HF_ENDPOINT": hub.url})


def test_offline_variable_is_followed(hub: HubServer, elsewhere: Elsewhere) -> None:
    """HF_HUB_OFFLINE asks nobody, and needs nobody once the model is here."""
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "1"}

    assert "the hub may not be asked" in elsewhere(variables)["problem"]
    assert hub.seen == []

    elsewhere({"HF_ENDPOINT": hub.url})
    hub.seen.clear()
    assert "folder" in elsewhere(variables)
    assert hub.seen == []


def test_configuration_goes_before_the_environment(hub: HubServer, elsewhere: Elsewhere) -> None:
    """What the file says is what everyone who has the file gets."""
    hub.repositories["org/model"].token = "hf_ours"
    variables = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_TOKEN": "hf_theirs", "OUR_TOKEN": "hf_ours"}

    assert "folder" in elsewhere(variables, {"endpoint": hub.url, "token": "env:OUR_TOKEN"})


def test_nothing_secret_and_no_progress_bar_reaches_standard_error(
    hub: HubServer, elsewhere: Elsewhere
) -> None:
    """Logs are ours alone: no bars, no addresses that are signed, no tokens, not even of what fails."""
    hub.repositories["org/model"].token = "hf_secret"
    hub.faults += [
        Fault(hub.repositories["org/model"].sha256("model.safetensors"), times=1, drop_after=1000),
        Fault("tokenizer.json", times=1, status=503, headers={"X-HF-Warning": "topic; a warning"}),
    ]

    said = elsewhere({"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"})

    assert "folder" in said
    assert hub.cdn not in elsewhere.stderr
    assert "hf_secret" not in elsewhere.stderr
    assert elsewhere.stderr == "WARNING:huggingface_hub.utils._http:a warning\n"


async def test_process_that_was_killed_leaves_its_part_to_the_next(
    hub: HubServer, elsewhere: Elsewhere
) -> None:
    """Pods are killed in the middle of gigabytes; neither the part nor a lock is in anyone's way."""
    sha256 = hub.repositories["org/model"].sha256("model.safetensors")
    hub.faults.append(Fault(sha256, times=1, stall_after=200_000))
    partial = elsewhere.folder / "home/hub/models--org--model/blobs" / f"{sha256}.incomplete"

    async def has_begun() -> bool:
        return partial.exists() and partial.stat().st_size > 100_000

    with elsewhere.start({"HF_ENDPOINT": hub.url}) as first:
        await until(has_begun)
        first.kill()
    kept = partial.stat().st_size

    folder = Path((await asyncio.to_thread(elsewhere, {"HF_ENDPOINT": hub.url}))["folder"])

    assert hub.ranges() == [None, f"bytes={kept}-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("variable", ["HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"])
@pytest.mark.parametrize("value", ["0", "1"])
def test_telemetry_is_off_whatever_the_environment_says(
    hub: HubServer, elsewhere: Elsewhere, variable: str, value: str
) -> None:
    """The list of programs that it would ask for is never asked for."""
    elsewhere({"HF_ENDPOINT": hub.url, variable: value, "AI_AGENT": "someone"})

    assert not [one for one in hub.seen if "harness" in one.path or "someone" in one.headers["user-agent"]]


def test_process_without_hub_sources_does_not_load_the_hubs_client(elsewhere: Elsewhere) -> None:
    """It costs a second and megabytes; fetching and reading files needs no engine either."""
    said = elsewhere({}, source=f"dir:{elsewhere.folder}", revision="")

    assert said["folder"] == str(elsewhere.folder)
    assert said["modules"] == []


def test_fetching_needs_no_engine(hub: HubServer, elsewhere: Elsewhere) -> None:
    """The command line downloads models without being able to run any."""
    assert elsewhere({"HF_ENDPOINT": hub.url})["modules"] == ["httpx2", "huggingface_hub"]
