"""Downloads that are interrupted go on where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.artifacts import ArtifactProblem, Wanted, locate
from services.config import Hub
from tests.integration.artifacts.conftest import Finder
from tests.support.hub_repository import COMMIT, WEIGHTS
from tests.support.hub_server import Fault, HubServer


def weights(hub: HubServer) -> str:
    """Return the path of the weights at the CDN."""
    return hub.repositories["org/model"].sha256("model.safetensors")


def partial(hub: HubServer, cache: Path) -> Path:
    """Return where the weights are until they are whole."""
    return cache / "models--org--model" / "blobs" / f"{weights(hub)}.incomplete"


def test_broken_connection_is_resumed_within_one_call(hub: HubServer, find: Finder) -> None:
    """What has arrived is not asked for again."""
    hub.faults.append(Fault(weights(hub), times=1, drop_after=100_000))

    folder = find()

    assert hub.ranges() == [None, "bytes=100000-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_download_that_gets_somewhere_is_not_given_up(hub: HubServer, find: Finder) -> None:
    """Tries are counted only while nothing arrives: a bad line costs time, not the download."""
    hub.faults.append(Fault(weights(hub), times=20, drop_after=10_000))

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges()[-1] == "bytes=200000-"


def test_download_that_was_given_up_is_resumed_by_the_next(
    hub: HubServer, find: Finder, hub_cache: Path
) -> None:
    """A process that died in the middle left its part for its successor."""
    hub.faults += [Fault(weights(hub), times=1, drop_after=100_000), Fault(weights(hub), drop_after=0)]
    with pytest.raises(
        ArtifactProblem, match=r"broke the connection, again and again; what has arrived is kept"
    ):
        find()
    assert partial(hub, hub_cache).stat().st_size == 100_000
    hub.faults.clear()
    hub.seen.clear()

    folder = find()

    assert hub.ranges() == ["bytes=100000-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not partial(hub, hub_cache).exists()


def test_silence_gives_a_download_up_and_keeps_what_has_arrived(
    hub: HubServer, finder: Callable[[Hub], Finder], hub_cache: Path
) -> None:
    """The timeout has been waited for once; nobody waits for it again."""
    hub.faults += [Fault(weights(hub), times=1, drop_after=100_000), Fault(weights(hub), silent=True)]
    find = finder(Hub(endpoint=hub.url, timeout_seconds=0.2))

    with pytest.raises(ArtifactProblem, match=r"was silent for 0\.2 seconds; what has arrived is kept"):
        find()

    assert hub.ranges() == [None, "bytes=100000-"]
    assert partial(hub, hub_cache).stat().st_size == 100_000


def test_server_that_ignores_ranges_sends_everything_again(hub: HubServer, find: Finder) -> None:
    """Some mirrors do; the parts must not be put together."""
    hub.faults += [Fault(weights(hub), times=1, drop_after=100_000), Fault(weights(hub), whole=True)]

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("kept", [bytes(100_000), bytes(len(WEIGHTS)), bytes(len(WEIGHTS) + 1)])
def test_damaged_part_is_thrown_away_and_fetched_anew(
    hub: HubServer, find: Finder, hub_cache: Path, kept: bytes
) -> None:
    """A disk that was full or a machine that lost power may have left anything."""
    partial(hub, hub_cache).parent.mkdir(parents=True)
    partial(hub, hub_cache).write_bytes(kept)

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges()[-1] is None


def test_whole_part_only_has_to_be_put_in_place(hub: HubServer, find: Finder, hub_cache: Path) -> None:
    """A process may die between the last byte and the last step."""
    partial(hub, hub_cache).parent.mkdir(parents=True)
    partial(hub, hub_cache).write_bytes(WEIGHTS)

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges() == []


@pytest.mark.parametrize("where", ["/api/models", "/resolve/", "/config.json"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_errors_that_pass_are_waited_out(hub: HubServer, find: Finder, where: str, status: int) -> None:
    """Nobody who starts a service should see that a hub was restarted."""
    hub.faults.append(Fault(where, times=2, status=status, headers={"Retry-After": "0"}))

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS


def test_damaged_blob_that_nothing_points_to_is_replaced(
    hub: HubServer, find: Finder, hub_cache: Path
) -> None:
    """Half a file under the right name must not become a model."""
    blob = partial(hub, hub_cache).with_suffix("")
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"half")

    assert (find() / "model.safetensors").read_bytes() == WEIGHTS


class Stopped(Exception):
    """Somebody wants a download to end."""


def test_download_ends_when_its_report_raises(hub: HubServer, find: Finder, hub_cache: Path) -> None:
    """A process that is told to stop cannot wait for gigabytes; the next one goes on from there."""

    def stop(sentence: str) -> None:
        if "model.safetensors" in sentence:
            raise Stopped

    with pytest.raises(Stopped):
        locate(Wanted("hf:org/model", COMMIT), find.origins, stop)

    assert not (hub_cache / "models--org--model/snapshots" / COMMIT / "model.safetensors").exists()
    assert (find() / "model.safetensors").read_bytes() == WEIGHTS
