"""What was downloaded before is used, and nobody is asked."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from services.artifacts import ArtifactProblem
from services.config import Hub
from tests.integration.artifacts.conftest import Finder
from tests.support.hub_repository import COMMIT, WEIGHTS
from tests.support.hub_server import HubServer

OFFLINE = Hub(offline=True)


@pytest.fixture
def nowhere() -> Hub:
    """Settings for a hub that is down."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return Hub(endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")


def download_by_hand(hub: HubServer, *names: str) -> None:
    """Download files one by one with the hub's own library, which then knows of no others."""
    for name in names:
        huggingface_hub.hf_hub_download(
            "org/model", name, revision=COMMIT, endpoint=hub.url, cache_dir=constants.HF_HUB_CACHE
        )
    hub.seen.clear()


def test_downloaded_model_needs_no_hub(
    hub: HubServer, find: Finder, finder: Callable[[Hub], Finder], nowhere: Hub
) -> None:
    """What a commit holds does not change, so there is nothing to ask."""
    folder = find()
    asked = len(hub.seen)

    assert find() == folder
    assert len(hub.seen) == asked
    assert finder(nowhere)() == folder
    assert finder(OFFLINE)() == folder


def test_snapshot_of_the_hubs_own_tools_needs_no_hub(
    hub: HubServer, find: Finder, finder: Callable[[Hub], Finder], nowhere: Hub
) -> None:
    """`hf download org/model --revision …` on another day is all that an image needs."""
    snapshot = huggingface_hub.snapshot_download(
        "org/model", revision=COMMIT, endpoint=hub.url, cache_dir=constants.HF_HUB_CACHE
    )
    hub.seen.clear()

    assert finder(nowhere)() == Path(snapshot)
    assert find() == Path(snapshot)
    assert hub.seen == []


def test_files_that_others_downloaded_are_completed(hub: HubServer, find: Finder) -> None:
    """Another program may not have needed what decides how this one pools."""
    download_by_hand(hub, "config.json", "tokenizer.json", "model.safetensors")

    assert (find() / "1_Pooling/config.json").is_file()
    assert hub.fetched() == ["1_Pooling/config.json", "sentence_bert_config.json"]


def test_files_that_others_downloaded_will_do_while_the_hub_is_down(
    hub: HubServer, finder: Callable[[Hub], Finder], nowhere: Hub
) -> None:
    """Nobody knows what else there is, and a whole model is better than none."""
    download_by_hand(hub, "config.json", "tokenizer.json", "model.safetensors")
    find = finder(nowhere)

    folder = find()

    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert find.told[0].startswith(
        f"using what was downloaded before of hf:org/model at {COMMIT[:12]}: 127.0.0.1:"
    )
    assert finder(OFFLINE)() == folder


def test_files_that_will_do_are_completed_once_the_hub_is_back(
    hub: HubServer, find: Finder, finder: Callable[[Hub], Finder], nowhere: Hub
) -> None:
    """Making do is not remembered."""
    download_by_hand(hub, "config.json", "tokenizer.json", "model.safetensors")
    finder(nowhere)()

    assert (find() / "1_Pooling/config.json").is_file()


def test_missing_model_says_how_to_get_it_where_the_hub_may_not_be_asked(
    finder: Callable[[Hub], Finder], hub_cache: Path
) -> None:
    """The message is the instruction."""
    with pytest.raises(ArtifactProblem) as raised:
        finder(OFFLINE)()

    assert str(raised.value) == (
        f"nothing of hf:org/model at {COMMIT[:12]} is here, and the hub may not be asked (hub.offline or "
        f"HF_HUB_OFFLINE); run `inglenook models download` where it can be reached, and bring its cache to "
        f"{hub_cache}"
    )


def test_missing_files_are_named_where_the_hub_may_not_be_asked(
    find: Finder, finder: Callable[[Hub], Finder]
) -> None:
    """What the repository has is known from before."""
    (find() / "model.safetensors").unlink()

    with pytest.raises(ArtifactProblem, match=r"is not complete: model\.safetensors is missing, and the hub"):
        finder(OFFLINE)()


def test_incomplete_files_of_others_are_told_where_the_hub_may_not_be_asked(
    hub: HubServer, finder: Callable[[Hub], Finder]
) -> None:
    """Nothing is known but what is here."""
    download_by_hand(hub, "config.json", "model.safetensors")

    with pytest.raises(
        ArtifactProblem, match=r"has no tokenizer\.json, as far as it was downloaded, and the"
    ):
        finder(OFFLINE)()


def test_other_graph_than_the_one_asked_for_will_not_do(
    hub: HubServer, find: Finder, finder: Callable[[Hub], Finder]
) -> None:
    """A quantized graph that another model has fetched must not stand in for the plain one."""
    hub.repositories["org/model"].files |= {"onnx/model.onnx": b"plain", "onnx/model_q.onnx": b"quantized"}
    find(onnx_file="onnx/model_q.onnx")

    with pytest.raises(ArtifactProblem, match=r"onnx/model\.onnx is missing"):
        finder(OFFLINE)()


def test_cache_can_be_moved(
    find: Finder, finder: Callable[[Hub], Finder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is downloaded on one machine and mounted on another, at another place."""
    folder = find()
    cache = Path(constants.HF_HUB_CACHE)
    moved = shutil.move(cache, cache.with_name("moved"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(moved))

    found = finder(OFFLINE)()

    assert found == moved / folder.relative_to(cache)
    assert (found / "model.safetensors").read_bytes() == WEIGHTS


def test_deleted_file_is_put_back(hub: HubServer, find: Finder) -> None:
    """People free space in a hurry."""
    (find() / "tokenizer.json").unlink()

    assert (find() / "tokenizer.json").is_file()


def test_damaged_notes_of_the_hubs_own_tools_are_passed_over(
    hub: HubServer, find: Finder, hub_cache: Path
) -> None:
    """They only save a question."""
    trees = hub_cache / "models--org--model" / "trees"
    trees.mkdir(parents=True)
    (trees / f"{COMMIT}.json").write_text("[" * 100_000, encoding="utf-8")

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.seen
