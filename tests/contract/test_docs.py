"""What the documents say about the code is true, as far as a test can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.chassis.errors import CODES, Reason
from services.version import VERSION

ROOT = Path(__file__).parents[2]
READMES = [ROOT / folder / "README.md" for folder in ("examples", "proto")]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *READMES])
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")


def test_every_reason_is_explained_with_its_status() -> None:
    """A caller who meets a reason finds it in docs/errors.md, under the status that it arrives with."""
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", page, flags=re.MULTILINE))
    assert told == {reason.value: CODES[reason].name for reason in Reason}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """A page that was moved takes its links with it."""
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/benchmarks.md"])
def test_make_targets_that_documents_name_exist(name: str) -> None:
    """Nobody is told to run a command that is not there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE))
    page = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page))
    assert named
    assert named <= targets


def test_decisions_that_the_code_refers_to_exist() -> None:
    """A comment that points to a decision points to a page."""
    referred = {
        name
        for path in (ROOT / "services").rglob("*.py")
        for name in re.findall(r"docs/(decisions/[\w-]+\.md|[\w-]+\.md)", path.read_text(encoding="utf-8"))
    }
    assert referred
    assert [name for name in referred if not (ROOT / "docs" / name).is_file()] == []


def test_metrics_in_the_runbook_are_those_of_the_code() -> None:
    """An operator can trust a metric's name, and finds every metric there is."""
    page = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "services").rglob("*.py"))
    defined = set(re.findall(r'"((?:inglenook|grpc_server)_[a-z_]+)"', code))
    told = set(re.findall(r"`((?:inglenook|grpc_server)_[a-z_]+)`", page))
    assert {name.removesuffix("_info") for name in told} == defined


def test_versions_agree() -> None:
    """The package, the stubs, the code and the changelog name one version."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[([\d.]+)\]", changelog, flags=re.MULTILINE)[0] == VERSION
    for project in (ROOT / "pyproject.toml", ROOT / "proto" / "pyproject.toml"):
        assert f'version = "{VERSION}"' in project.read_text(encoding="utf-8")
