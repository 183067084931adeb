"""What is asked of the machine: how many CPUs, how much memory."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from services.inference.cpus import usable_cpus
from services.inference.memory import claimed_bytes, resident_bytes

MEBIBYTE = 1024 * 1024


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler allows this process eight CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "usable"),
    [
        ("max 100000\n", 8),
        ("400000 100000\n", 4),
        ("150000 100000\n", 2),  # rounded up: half a CPU more is worth a thread
        ("20000 100000\n", 1),
        ("3200000 100000\n", 8),  # more than there are
        ("", 8),
        ("nonsense", 8),
        ("1 2 3", 8),
        ("x y", 8),
    ],
)
@pytest.mark.usefixtures("eight_cpus")
def test_quota_of_the_container_counts(tmp_path: Path, quota: str, usable: int) -> None:
    """More threads than the quota allows would be stopped for the rest of every period."""
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")

    assert usable_cpus(tmp_path / "cpu.max") == usable


@pytest.mark.usefixtures("eight_cpus")
def test_no_quota_file_means_no_quota(tmp_path: Path) -> None:
    """Outside of containers, and with cgroup v1, there is none."""
    assert usable_cpus(tmp_path / "cpu.max") == 8


def test_affinity_counts(tmp_path: Path) -> None:
    """`taskset` and cpusets give a process fewer CPUs than the machine has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cpus(tmp_path / "cpu.max") == 1
    finally:
        os.sched_setaffinity(0, before)


def test_systems_without_affinity_count_their_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS has no such call."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)

    assert usable_cpus(tmp_path / "cpu.max") == 6


def test_resident_memory_follows_what_is_held() -> None:
    """What a model adds is the difference of two of these numbers."""
    before = resident_bytes()
    held = bytearray(os.urandom(MEBIBYTE)) * 128

    grown = resident_bytes() - before

    assert len(held) * 0.8 < grown < len(held) * 1.5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
@pytest.mark.parametrize("name", ["model.onnx.data", "model.onnx_data"])
def test_weights_that_are_mapped_count_before_they_are_touched(tmp_path: Path, name: str) -> None:
    """Tables of words become resident word by word; a budget that ignored them would be overrun later."""
    size = 40_000_000
    (tmp_path / name).write_bytes(bytes(size))
    resident, claimed = resident_bytes(), claimed_bytes()
    with (tmp_path / name).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert claimed_bytes() - claimed == pytest.approx(size, rel=0.1)

        assert sum(mapped[:: mmap.PAGESIZE]) == 0  # touches every page
        assert resident_bytes() - resident == pytest.approx(size, rel=0.1)
        assert claimed_bytes() - claimed == pytest.approx(size, rel=0.1)
    assert claimed_bytes() - claimed < size * 0.1


def test_other_files_that_are_mapped_do_not_count(tmp_path: Path) -> None:
    """Libraries are mapped whole too, and most of them is never needed."""
    (tmp_path / "other.bin").write_bytes(bytes(40_000_000))
    before = claimed_bytes()
    with (tmp_path / "other.bin").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert claimed_bytes() - before < 4_000_000
