"""The distribution `inglenook-protos` as other teams get it: built, installed alone, used, type-checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import pytest

from tests.support import stubs_program
from tests.support.contract import DESCRIPTORS, PROTO

pytestmark = pytest.mark.timeout(180)

GENERATED = PROTO / "python"
PROGRAM = Path(stubs_program.__file__)
TYPES = ("types-grpcio", "types-protobuf")
SECONDS = 90

MISUSE = """\
import grpc
from inglenook.embed.v1 import EmbedRequest, EmbedServiceStub

EmbedRequest(modle="m")
EmbedRequest(dimensions="all")
EmbedServiceStub(grpc.insecure_channel("localhost:1")).Embed("text")
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A virtual environment that has the stubs.

    Attributes:
        python: Its interpreter.
        folder: An empty folder to work in.
    """

    python: Path
    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder, without anything of this process's environment that is Python's."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def pip(*arguments: str) -> None:
    """Run pip; what it says is shown only when it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the distribution and return its wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(PROTO))
    (built,) = folder.glob("inglenook_protos-*.whl")
    return built


@pytest.fixture(scope="module")
def newest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Install the stubs with the newest packages that they allow, and the types that go with those."""
    return install(tmp_path_factory.mktemp("newest"), wheel, *TYPES)


@pytest.fixture(scope="module")
def oldest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Install the stubs with the oldest packages that they allow."""
    pinned = [f"{name}=={version}" for name, version in lower_bounds(wheel).items()]
    return install(tmp_path_factory.mktemp("oldest"), wheel, *pinned)


def install(folder: Path, wheel: Path, *more: str) -> Installation:
    """Make a virtual environment in `folder` and install the wheel and what it needs."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip("--python", str(python), "install", str(wheel), *more)
    empty = folder / "elsewhere"
    empty.mkdir()
    return Installation(python, empty)


def lower_bounds(wheel: Path) -> dict[str, str]:
    """Return the oldest version of each package that the wheel's metadata allows."""
    (information,) = (path for path in ZipPath(wheel).iterdir() if path.name.endswith(".dist-info"))
    bounds = {}
    for requirement in PathDistribution(information).requires or ():
        found = re.fullmatch(r"([\w-]+)\b.*>=([\d.]+).*", requirement)
        assert found, f"no lower bound: {requirement}"
        bounds[found[1]] = found[2]
    return bounds


def use(installation: Installation) -> dict[str, object]:
    """Run the program with warnings as errors and return what it found."""
    program = shutil.copy(PROGRAM, installation.folder)
    result = installation.run(str(installation.python), "-I", "-W", "error", str(program))
    assert result.returncode == 0, result.stdout + result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    origins = found["origins"]
    assert isinstance(origins, list)
    environment = str(installation.python.parents[1])
    assert [origin for origin in origins if not str(origin).startswith(environment)] == []
    assert found["is_namespace"] is True
    assert found["descriptor_bytes"] == DESCRIPTORS.stat().st_size
    return found


def test_wheel_holds_the_generated_code_and_nothing_else(wheel: Path) -> None:
    """Modules, `.pyi` files, `py.typed` markers and the descriptor set, as committed, byte for byte."""
    expected = {
        str(path.relative_to(GENERATED)): path.read_bytes()
        for path in GENERATED.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {f"inglenook/{DESCRIPTORS.name}": DESCRIPTORS.read_bytes()}
    with ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_wheel_is_typed_and_shares_its_top_package(wheel: Path) -> None:
    """Each noun is marked as typed, each module has its types, and `inglenook` itself belongs to nobody."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("inglenook/")}
    nouns = {name.split("/")[1] for name in names if name.count("/") > 1}
    assert {noun for noun in nouns if f"inglenook/{noun}/py.typed" not in names} == set()
    assert {name for name in names if name.endswith("_pb2.py") and f"{name}i" not in names} == set()
    assert {name for name in names if name.endswith("_pb2_grpc.py") and f"{name}i" not in names} == set()
    assert "inglenook/__init__.py" not in names


def test_wheel_needs_protobuf_and_grpc_alone(wheel: Path) -> None:
    """A client of ours gets no tokenizer, no numpy and no server framework with the stubs."""
    assert set(lower_bounds(wheel)) == {"protobuf", "grpcio"}


def test_stubs_work_with_the_newest_packages_that_they_allow(newest: Installation) -> None:
    """In a clean environment a program imports every package and calls a real server, without a warning."""
    found = use(newest)
    kinds = found["message_kinds"]
    assert isinstance(kinds, int)
    assert kinds > 50


def test_stubs_work_with_the_oldest_packages_that_they_allow(wheel: Path, oldest: Installation) -> None:
    """The lower bounds are true: the same program runs on exactly those versions."""
    versions = use(oldest)["versions"]
    assert isinstance(versions, dict)
    assert lower_bounds(wheel).items() <= versions.items()


def test_installed_stubs_satisfy_a_strict_type_checker(newest: Installation) -> None:
    """A typed program against the installed stubs has nothing to ignore and nothing to cast."""
    program = shutil.copy(PROGRAM, newest.folder / "typed.py")
    result = type_check(newest, Path(program))
    assert result.returncode == 0, result.stdout + result.stderr


def test_type_checker_refuses_misuse_of_the_installed_stubs(newest: Installation) -> None:
    """The types say something: a misspelt field, a wrong type and a wrong request are each an error."""
    program = newest.folder / "misuse.py"
    program.write_text(MISUSE, encoding="utf-8")
    result = type_check(newest, program)
    lines = {int(line) for line in re.findall(r"^misuse\.py:(\d+): error:", result.stdout, re.MULTILINE)}
    assert lines == {4, 5, 6}, result.stdout + result.stderr


def type_check(installation: Installation, program: Path) -> subprocess.CompletedProcess[str]:
    """Have mypy read a program as if in the installation's environment, without our settings."""
    cache = installation.folder / "mypy-cache"
    return installation.run(
        sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--no-error-summary",
        "--cache-dir", str(cache), "--python-executable", str(installation.python), program.name,
    )  # fmt: skip
