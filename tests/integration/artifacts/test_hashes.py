"""Files from the hub are what they were, or are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.artifacts import ArtifactProblem
from services.config import Hub
from tests.integration.artifacts.conftest import Finder
from tests.support.hub_repository import COMMIT
from tests.support.hub_server import HubServer

OFFLINE = Hub(offline=True)


def record_file(find: Finder) -> Path:
    """Return where the hashes are recorded."""
    return find.origins.cache / "hub" / "models--org--model" / f"{COMMIT}.json"


def read_record(find: Finder) -> Any:
    """Return what is recorded."""
    return json.loads(record_file(find).read_text(encoding="utf-8"))


def without_links(hub_cache: Path) -> None:
    """Make files of the links in the hub's cache, as `cp --dereference` and some image builders do."""
    shutil.copytree(hub_cache, hub_cache.with_name("copy"))
    shutil.rmtree(hub_cache)
    hub_cache.with_name("copy").rename(hub_cache)
    for blobs in hub_cache.glob("*/blobs"):
        shutil.rmtree(blobs)


def change(path: Path) -> None:
    """Flip one bit of a file, wherever it really is."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.resolve().write_bytes(content)


def test_hashes_of_all_files_are_recorded(hub: HubServer, find: Finder) -> None:
    """The record says what every file was, and what else the repository has."""
    folder = find()

    recorded = read_record(find)

    assert recorded["listing"] == sorted(hub.repositories["org/model"].files)
    assert sorted(recorded["files"]) == sorted(hub.fetched())
    assert all(
        facts["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name, facts in recorded["files"].items()
    )


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_changed_file_is_refused_on_every_load(find: Finder, hub_cache: Path, name: str) -> None:
    """One bit of any file that is used is enough, and the message says what to delete."""
    folder = find()
    change(folder / name)

    for _ in range(2):
        with pytest.raises(ArtifactProblem) as raised:
            find()
        assert str(raised.value).startswith(
            f"{name} of hf:org/model at {COMMIT[:12]} has changed since it was downloaded: its hash is "
        )
        assert str(raised.value).endswith(
            f"; delete {hub_cache / 'models--org--model'} and run `inglenook models download`"
        )


def test_remedy_works(find: Finder, hub_cache: Path) -> None:
    """Who does what the message says has a model again."""
    change(find() / "model.safetensors")
    with pytest.raises(ArtifactProblem, match="has changed"):
        find()

    shutil.rmtree(hub_cache / "models--org--model")

    assert find().is_dir()


def test_changed_file_is_noticed_without_a_record(find: Finder) -> None:
    """Content lies under its hash in the hub's cache, so a file that does not fit its name was changed."""
    change(find() / "model.safetensors")
    record_file(find).unlink()

    with pytest.raises(ArtifactProblem, match=r"^model\.safetensors of .* has changed"):
        find()


def test_files_that_were_copied_in_are_recorded_at_first_sight(
    find: Finder, finder: Callable[[Hub], Finder], hub_cache: Path
) -> None:
    """Nothing says what they were before; from now on they stay what they are."""
    folder = find()
    without_links(hub_cache)
    shutil.rmtree(find.origins.cache)

    assert finder(OFFLINE)() == folder
    change(folder / "model.safetensors")
    with pytest.raises(ArtifactProblem, match=r"^model\.safetensors of .* has changed"):
        finder(OFFLINE)()


def test_downloaded_file_counts_more_than_what_was_recorded_of_a_copy(find: Finder, hub_cache: Path) -> None:
    """A copy that was damaged at first sight must not make its replacement look changed."""
    change(find() / "model.safetensors")
    without_links(hub_cache)
    record = read_record(find)
    record["files"] = {}
    record_file(find).write_text(json.dumps(record), encoding="utf-8")
    find()

    shutil.rmtree(hub_cache)

    assert find().is_dir()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"files": {"a": 1}, "listing": []}'])
def test_damaged_record_is_made_anew(find: Finder, content: bytes) -> None:
    """It is an observation that can be repeated; the files still have to fit their names."""
    find()
    before = read_record(find)
    record_file(find).write_bytes(content)

    find()

    assert read_record(find) == before


def test_record_that_cannot_be_written_keeps_no_model_from_loading(find: Finder) -> None:
    """The cache may be mounted read-only; the log says that hashes are not kept."""
    find.origins.cache.write_text("a file, where a folder should be", encoding="utf-8")

    assert find() == find()


def test_record_grows_with_what_is_used_of_a_repository(hub: HubServer, find: Finder) -> None:
    """Two models may use different files of one commit."""
    hub.repositories["org/model"].files["onnx/model.onnx"] = b"graph"
    find()
    find(build=True)

    assert {"onnx/model.onnx", "model.safetensors"} <= set(read_record(find)["files"])
