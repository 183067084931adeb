from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from services.artifacts import ArtifactProblem
from services.inference.graph.build import ABANDONED_SECONDS, PAGE, Checkpoint, Plan, build
from services.inference.graph.heads import EmbeddingHead
from tests.support.graphs import checkpoint
from tests.support.tiny import Shape, write_model
from tests.support.tiny_adapter import write_adapter

PLAN = Plan(EmbeddingHead("mean"))

BUILD_AND_STOP_HALFWAY = """
import os, sys
from pathlib import Path
from services.inference.graph.build import build
from tests.support.graphs import checkpoint
from tests.unit.inference.test_graph_cache import PLAN

fsync = os.fsync

def halfway(_):
    os.fsync = fsync  # what is written next is the graph itself
    print("halfway", flush=True)
    if sys.stdin.readline() != "go on\\n":
        os._exit(9)

os.fsync = halfway
print(build(checkpoint(Path(sys.argv[1])), PLAN, Path(sys.argv[2])), flush=True)
"""


@contextmanager
def builder_halfway(folder: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that builds the model of `folder` and waits when the weights have been written.

    It goes on when told to; otherwise it dies there, and cleans nothing up.
    """
    command = [sys.executable, "-c", BUILD_AND_STOP_HALFWAY, str(folder), str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process
        process.stdin.close()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def graphs(cache: Path) -> list[str]:
    """Return what a user of the cache can find in it."""
    return sorted(path.name for path in (cache / "graphs").iterdir() if not path.name.startswith("."))


def test_second_build_reuses_the_file(tmp_path: Path) -> None:
    """It does not even open the checkpoint: a start with a warm cache is fast."""
    source = checkpoint(write_model(tmp_path / "model"))
    first = build(source, PLAN, tmp_path / "cache")
    before = first.stat()
    source.weights.unlink()

    assert build(source, PLAN, tmp_path / "cache") == first
    assert first.stat() == before


def test_everything_that_decides_the_graph_gives_another_folder(tmp_path: Path) -> None:
    """A graph of other weights, another head or another precision must never be taken for this one."""
    source = checkpoint(write_model(tmp_path / "model"))
    other_weights = checkpoint(write_model(tmp_path / "other", seed=8))
    other_config = checkpoint(write_model(tmp_path / "config", hidden_act="relu"))
    adapters = [write_adapter(tmp_path / f"adapter{seed}", tmp_path / "model", seed=seed) for seed in (1, 2)]
    variations: list[tuple[Checkpoint, Plan]] = [
        (source, PLAN),
        (source, Plan(EmbeddingHead("cls"))),
        *((checkpoint(tmp_path / "model", adapter), PLAN) for adapter in adapters),
        (source, Plan(EmbeddingHead("mean"), layout="padded")),
        (source, Plan(EmbeddingHead("mean"), precision="fp16", layout="padded")),
        (other_weights, PLAN),
        (other_config, PLAN),
    ]

    paths = {build(*variation, tmp_path / "cache") for variation in variations}

    assert len(paths) == len(variations)


def test_the_same_model_elsewhere_gives_the_same_folder(tmp_path: Path) -> None:
    """Content decides: a model that was moved or copied is not built again."""
    here = build(checkpoint(write_model(tmp_path / "here")), PLAN, tmp_path / "cache")
    there = build(checkpoint(write_model(tmp_path / "there")), PLAN, tmp_path / "cache")

    assert here == there


def test_weights_are_page_aligned_external_data(tmp_path: Path) -> None:
    """ONNX Runtime can only map weights into memory, and so share them, that begin at a page."""
    shape = Shape(hidden_size=36, intermediate_size=70)  # no tensor fills whole pages by chance
    folder = write_model(tmp_path / "model", shape=shape)
    path = build(checkpoint(folder), PLAN, tmp_path / "cache")
    tensors = {one.name: one for one in onnx.load(str(path), load_external_data=False).graph.initializer}
    data = path.with_name("model.onnx.data").read_bytes()

    for name, stored in load_file(folder / "model.safetensors").items():
        if stored.nbytes <= 1024:  # small ones stay in the graph
            continue
        place = {entry.key: entry.value for entry in tensors[name].external_data}
        offset, length = int(place["offset"]), int(place["length"])
        values = np.frombuffer(data[offset : offset + length], dtype=np.float32)
        expected = stored if "embeddings" in name else stored.T
        assert place["location"] == "model.onnx.data"
        assert offset % PAGE == 0
        np.testing.assert_array_equal(values.reshape(expected.shape), expected)


def test_half_precision_halves_the_weights(tmp_path: Path) -> None:
    """A GPU graph that secretly held fp32 weights would take twice the device's memory."""
    source = checkpoint(write_model(tmp_path / "model", shape=Shape(hidden_size=128, intermediate_size=256)))
    single, half = (
        build(source, Plan(EmbeddingHead("mean"), precision=precision, layout="padded"), tmp_path / "cache")
        for precision in ("fp32", "fp16")
    )

    sizes = [path.with_name("model.onnx.data").stat().st_size for path in (single, half)]

    assert sizes[1] < 0.6 * sizes[0]


def test_crashed_build_never_appears(tmp_path: Path) -> None:
    """A process that dies with half of the file written leaves nothing that could be taken for a graph."""
    folder, cache = write_model(tmp_path / "model"), tmp_path / "cache"
    with builder_halfway(folder, cache) as process:
        assert line(process) == "halfway"
    assert process.returncode == 9
    assert list(cache.rglob("model.onnx.data")) != []  # it had got that far
    assert graphs(cache) == []

    path = build(checkpoint(folder), PLAN, cache)

    assert graphs(cache) == [path.parent.name]
    onnx.checker.check_model(str(path))


def test_what_a_killed_build_left_is_removed_a_day_later(tmp_path: Path) -> None:
    """Nobody else would; what is younger may belong to a process that is still building."""
    graphs_folder = tmp_path / "cache" / "graphs"
    for name, age in (("old", ABANDONED_SECONDS + 60), ("young", 60)):
        scratch = graphs_folder / f".building-{name}"
        scratch.mkdir(parents=True)
        (scratch / "model.onnx.data").write_bytes(b"half")
        for path in (scratch / "model.onnx.data", scratch):
            os.utime(path, (time.time() - age, time.time() - age))

    path = build(checkpoint(write_model(tmp_path / "model")), PLAN, tmp_path / "cache")

    assert sorted(one.name for one in graphs_folder.iterdir()) == [".building-young", path.parent.name]


def test_two_processes_that_build_at_once_both_succeed(tmp_path: Path) -> None:
    """Replicas that start together share one cache: the slower one takes what the faster one built."""
    folder, cache = write_model(tmp_path / "model"), tmp_path / "cache"
    with builder_halfway(folder, cache) as one, builder_halfway(folder, cache) as other:
        for process in (one, other):
            assert line(process) == "halfway"
        for process in (one, other):
            print("go on", file=process.stdin, flush=True)
        paths = [line(one), line(other)]

    assert [one.returncode, other.returncode] == [0, 0]
    assert paths[0] == paths[1]
    assert [path.name for path in (cache / "graphs").iterdir()] == [Path(paths[0]).parent.name]
    onnx.checker.check_model(paths[0])


def test_full_disk_is_a_problem_and_leaves_nothing(tmp_path: Path) -> None:
    """The half that was written is taken away, so that the disk is not full for ever."""
    source = checkpoint(write_model(tmp_path / "model"))

    with (
        pytest.raises(ArtifactProblem, match=r"the built graph cannot be written to .*: File too large"),
        largest_file(8192),
    ):
        build(source, PLAN, tmp_path / "cache")

    assert list((tmp_path / "cache" / "graphs").iterdir()) == []


def test_cache_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    """A read-only or misplaced cache directory is named; a file in its place refuses root as well."""
    (tmp_path / "cache").write_text("", encoding="utf-8")

    with pytest.raises(ArtifactProblem, match=f"cannot be written to {tmp_path / 'cache'}"):
        build(checkpoint(write_model(tmp_path / "model")), PLAN, tmp_path / "cache")


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "sizes.json"])
@pytest.mark.parametrize("kept_bytes", [None, 0, 100])
def test_damaged_graph_is_built_again(tmp_path: Path, name: str, kept_bytes: int | None) -> None:
    """What a full disk or a careless copy has cut short must not keep a model from being loaded for ever."""
    source = checkpoint(write_model(tmp_path / "model"))
    path = build(source, PLAN, tmp_path / "cache")
    whole = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    damaged = path.with_name(name)
    if kept_bytes is None:
        damaged.unlink()
    else:
        damaged.write_bytes(whole[name][:kept_bytes] if kept_bytes < len(whole[name]) else b"{")

    assert build(source, PLAN, tmp_path / "cache") == path

    assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == whole
    assert [one.name for one in path.parent.parent.iterdir()] == [path.parent.name]
