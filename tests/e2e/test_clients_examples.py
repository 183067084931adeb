"""Programs in `examples`, with clients that are not ours, against the cluster that `make up` runs."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.client_cluster import KEY, ClientCluster
from tests.support.offline import ROOT, run_offline

EXAMPLES: Final = ROOT / "examples"
SHOWN: Final = re.findall(
    r"^\$ (.+)\n((?:(?!\$ |```).*\n)*)", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE
)
"""Each command of the page, and what it says that the command prints."""
MAX_LINES: Final = 60


def against(cluster: ClientCluster, command: Sequence[str]) -> list[str]:
    """Return a command that asks this cluster instead of the one at the usual address."""
    interpreter = [sys.executable if part == ".venv/bin/python" else part for part in command]
    if command[0] == "node":
        return [*interpreter, cluster.grpc, KEY]
    url = cluster.url.removesuffix("/v1") if "cohere" in command[-1] else cluster.url
    return [*interpreter, "--url", url, "--api-key", KEY]


@pytest.mark.parametrize(("command", "printed"), SHOWN, ids=[line.split()[-1] for line, _ in SHOWN])
def test_an_example_prints_what_its_page_says(
    clients: ClientCluster, tmp_path: Path, command: str, printed: str
) -> None:
    """And reaches nothing but the cluster; the model's words are those of the stand-in for an Ollama."""
    done = run_offline(against(clients, shlex.split(command)), tmp_path)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_every_example_is_shown_and_short() -> None:
    """Nobody has to scroll, and nothing lies there that is not tested."""
    files = {path for kind in ("*.py", "node/*.mjs") for path in EXAMPLES.glob(kind)}
    assert {ROOT / line.split()[-1] for line, _ in SHOWN} == files
    long = {path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES}
    assert long == set()


def test_the_guard_of_these_tests_ends_what_looks_for_another_machine(tmp_path: Path) -> None:
    """Else it would prove nothing that the programs run."""
    looking = "import socket; socket.create_connection(('inglenook.invalid', 80))"
    done = run_offline([sys.executable, "-c", looking], tmp_path)
    assert done.returncode == 97
    assert "inglenook.invalid" in done.stderr
