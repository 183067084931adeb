"""What is downloaded from a hub, and what is not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest

from services.artifacts import ArtifactProblem, examine, examine_adapter
from tests.integration.artifacts.conftest import Finder
from tests.support.hub_repository import COMMIT, WEIGHTS, adapter, encoder, read_folder
from tests.support.hub_server import HubServer
from tests.support.tiny import write_model

DESCRIBING = ["config.json", "tokenizer.json", "1_Pooling/config.json", "sentence_bert_config.json"]
GRAPHS = ("model.onnx", "onnx/model.onnx", "onnx/model_O4.onnx", "onnx/model_qint8.onnx")


def add(hub: HubServer, *names: str) -> None:
    """Add files to the model."""
    hub.repositories["org/model"].files |= {name: f"content of {name}".encode() for name in names}


def test_only_the_files_that_are_needed_are_downloaded(hub: HubServer, find: Finder) -> None:
    """Repositories hold the same weights in several formats, gigabytes each."""
    folder = find()

    assert hub.fetched() == [*DESCRIBING, "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        {name.partition("/")[0] for name in hub.fetched()}
    )


def test_downloaded_folder_is_read_like_any_other(hub: HubServer, find: Finder, tmp_path: Path) -> None:
    """Where a model came from makes no difference to what is computed with it."""
    written = write_model(tmp_path / "written")
    hub.repositories["org/tiny"] = read_folder(written)

    found = examine(find("hf:org/tiny"))

    assert found.sha256 == examine(written).sha256
    assert (found.pooling, found.max_tokens) == ("mean", 64)


def test_repository_without_an_organization_is_found(hub: HubServer, find: Finder) -> None:
    """The oldest models have a name and nothing else."""
    hub.repositories["bert-base"] = encoder()

    assert find("hf:bert-base").is_dir()


def test_onnx_file_is_preferred_to_weights_and_comes_with_its_data(hub: HubServer, find: Finder) -> None:
    """A graph above 2 GB keeps its weights beside it."""
    add(hub, "onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_O4.onnx", "openvino/model.bin")

    assert find().joinpath("onnx/model.onnx_data").is_file()
    assert hub.fetched() == [*DESCRIBING, "onnx/model.onnx", "onnx/model.onnx_data"]


@pytest.mark.parametrize(
    ("has", "chosen"),
    [
        (["onnx/only.onnx"], "onnx/only.onnx"),
        (list(GRAPHS), "model.onnx"),
        (list(GRAPHS[1:]), "onnx/model.onnx"),
    ],
)
def test_obvious_onnx_file_is_chosen_as_in_a_folder(
    hub: HubServer, find: Finder, has: list[str], chosen: str
) -> None:
    """A folder that was copied from the hub by hand must lead to the same graph."""
    add(hub, *has)

    folder = find()

    assert hub.fetched() == [*DESCRIBING, chosen]
    assert examine(folder).graph == folder / chosen


def test_onnx_file_that_is_asked_for_is_the_one(hub: HubServer, find: Finder) -> None:
    """Quantized graphs lie beside the plain one."""
    add(hub, *GRAPHS)

    find(onnx_file="onnx/model_qint8.onnx")

    assert hub.fetched() == [*DESCRIBING, "onnx/model_qint8.onnx"]


def test_one_model_does_not_change_which_graph_another_gets(hub: HubServer, find: Finder) -> None:
    """Two names for one repository, one of them quantized, share a folder and nothing else."""
    add(hub, "onnx/model_qint8.onnx", "onnx/model.onnx")
    folder = find(onnx_file="onnx/model_qint8.onnx")

    assert find() == folder
    assert examine(folder).graph == folder / "onnx/model.onnx"


def test_graph_that_is_built_takes_the_weights(hub: HubServer, find: Finder) -> None:
    """A ready-made graph is passed over, and not downloaded."""
    add(hub, "model.onnx")

    find(build=True)

    assert hub.fetched() == [*DESCRIBING, "model.safetensors"]


def test_adapter_is_three_files(hub: HubServer, find: Finder) -> None:
    """Its tokenizer is the model's own."""
    hub.repositories["org/adapter"] = adapter()

    found = examine_adapter(find("hf:org/adapter", adapter=True))

    assert sorted(hub.fetched()) == ["adapter_config.json", "adapter_model.safetensors", "config.json"]
    assert found.model_config == {"id2label": {"0": "yes"}}


def test_unknown_architecture_is_refused_before_its_weights_are_downloaded(
    hub: HubServer, find: Finder
) -> None:
    """Gigabytes that nothing can be done with would be a bad answer."""
    hub.repositories["org/model"].files["config.json"] = b'{"model_type": "deberta-v2"}'

    with pytest.raises(ArtifactProblem, match=r"has no \.onnx file, and no graph can be .* deberta-v2, only"):
        find()

    assert hub.fetched() == ["config.json"]


def test_unknown_architecture_with_an_onnx_file_is_welcome(hub: HubServer, find: Finder) -> None:
    """A ready-made graph needs no builder."""
    hub.repositories["org/model"].files["config.json"] = b'{"model_type": "deberta-v2"}'
    add(hub, "model.onnx")

    assert examine(find()).architecture == "deberta-v2"
    with pytest.raises(ArtifactProblem, match=r"is to be built, and no graph can be built"):
        find(build=True)


def test_progress_is_told_in_sentences(hub: HubServer, find: Finder) -> None:
    """The start of every file is told, and how much there is of a large one."""
    hub.repositories["org/model"].files["model.safetensors"] = bytes(2_000_000)

    find()

    assert find.told[: len(DESCRIBING)] == [f"downloading {name}" for name in DESCRIBING]
    assert find.told[len(DESCRIBING)] == "downloading model.safetensors, 0 of 2 MB"


def test_models_that_start_together_download_a_file_once(hub: HubServer, find: Finder) -> None:
    """Services on one machine share a cache, and ask for the same model at the same moment."""
    together = threading.Barrier(4)

    def find_together() -> Path:
        together.wait()
        return find()

    with ThreadPoolExecutor(4) as threads:
        folders = {run.result() for run in [threads.submit(find_together) for _ in range(4)]}

    assert len(folders) == 1
    assert hub.ranges() == [None]


def test_two_commits_share_what_did_not_change(hub: HubServer, find: Finder) -> None:
    """Content is kept under its hash, so weights that stay the same are not fetched anew."""
    find()
    repository = hub.repositories["org/model"]
    repository.commit = "f" * 40
    repository.files["config.json"] = b'{"model_type": "bert", "id2label": {}}'
    hub.seen.clear()

    folder = find(revision="f" * 40)

    assert hub.fetched() == ["config.json"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_other_programs_find_what_was_downloaded_here(find: Finder, hub_cache: Path) -> None:
    """The cache is the one that all of the hub's tools share."""
    folder = find()

    found = huggingface_hub.hf_hub_download(
        "org/model", "model.safetensors", revision=COMMIT, cache_dir=hub_cache, local_files_only=True
    )
    scanned = huggingface_hub.scan_cache_dir(hub_cache)

    assert Path(found) == folder / "model.safetensors"
    assert [(one.repo_id, one.size_on_disk > len(WEIGHTS)) for one in scanned.repos] == [("org/model", True)]
    assert scanned.warnings == []


def test_empty_files_are_downloaded_too(hub: HubServer, find: Finder) -> None:
    """Nothing has to arrive for them, and they are there."""
    hub.repositories["org/model"].files["onnx/model.onnx"] = b"graph"
    hub.repositories["org/model"].files["onnx/model.onnx_data"] = b""

    assert find().joinpath("onnx/model.onnx_data").read_bytes() == b""


def test_mirror_that_lists_names_only_is_asked_for_each_file(hub: HubServer, find: Finder) -> None:
    """Some mirrors leave hashes and sizes to the headers of the files."""
    hub.repositories["org/model"].bare = True

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
    assert [one.path.split("/")[-1] for one in hub.seen if one.method == "HEAD"][-1] == "model.safetensors"


def test_nothing_is_told_about_the_program_that_asks(hub: HubServer, find: Finder) -> None:
    """The library's telemetry is off: versions of other packages and names of tools stay here."""
    find()

    assert {one.path.split("/")[1] for one in hub.seen if not one.cdn} == {"api", "org"}
    assert all(
        "torch" not in one.headers["user-agent"] and "agent/" not in one.headers["user-agent"]
        for one in hub.seen
    )


def test_names_that_leave_the_folder_are_not_followed(hub: HubServer, find: Finder, hub_cache: Path) -> None:
    """A mirror could list anything."""
    add(hub, "model.onnx", "model.onnx_/../../../../escaped")

    find()

    assert hub.fetched()[-1] == "model.onnx"
    assert not list(hub_cache.parent.rglob("escaped"))


@pytest.mark.parametrize(
    "name",
    ["a\nb.onnx", "a\0.onnx", "\x1b[2J.onnx", "\ud800.onnx", "onnx\\a.onnx", "/a.onnx", "onnx/../a.onnx"],
)
def test_names_that_no_file_here_may_have_are_passed_over(hub: HubServer, find: Finder, name: str) -> None:
    """They are never opened, and never shown: a message with one could rewrite a terminal."""
    hub.repositories["org/model"].files[name] = b"graph"

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
    with pytest.raises(ArtifactProblem, match=r"^hf:org/model at \w+ has no other\.onnx$"):
        find(onnx_file="other.onnx")


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:12]])
def test_revision_must_be_a_commit(find: Finder, revision: str | None) -> None:
    """The configuration says so too; here it protects the cache's layout."""
    with pytest.raises(ArtifactProblem, match=r"^hf:org/model needs a revision: a full commit hash"):
        find(revision=revision)


@pytest.mark.parametrize("name", ["org/a--b", "org/..", "org/x/y", "x.git", ""])
def test_names_that_no_repository_can_have_are_refused(find: Finder, name: str) -> None:
    """Nobody is asked for them."""
    with pytest.raises(ArtifactProblem, match=r"cannot be the name of a repository on the hub$"):
        find(f"hf:{name}")
