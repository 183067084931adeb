"""A configuration file is read when it has changed and is whole, however it was replaced."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.watch import Changes, Stamp, stamp_of, watch

ONE, TWO, THREE = (Stamp(number, number, number, 0) for number in (1, 2, 3))


def due(*stamps: Stamp | None) -> list[int]:
    """Return at which of the looks the file is to be read, counted from 0."""
    changes = Changes()
    return [position for position, stamp in enumerate(stamps) if changes.is_due(stamp)]


def test_every_version_is_read_once_and_the_first_one_too() -> None:
    """What stays as it is, is not read again."""
    assert due(ONE, ONE, ONE, TWO, TWO, TWO) == [1, 4]


def test_a_file_that_is_still_being_written_is_left_alone() -> None:
    """It is read when it has stood still for one look."""
    assert due(ONE, ONE, TWO, THREE, THREE) == [1, 4]


def test_a_change_that_is_taken_back_at_once_is_no_change() -> None:
    """What was read already is not read again because something else was there for a moment."""
    assert due(ONE, ONE, TWO, ONE, ONE) == [1]


def test_a_file_that_is_gone_is_a_version_like_any_other() -> None:
    """So the status can say that it is gone, and once it is back, that it is."""
    assert due(ONE, ONE, None, None, None, ONE, ONE) == [1, 3, 6]


def test_a_file_that_is_replaced_has_another_stamp_even_if_time_and_size_are_the_same(tmp_path: Path) -> None:
    """Editors and configuration tools write another file and rename it."""
    path, other = tmp_path / "inglenook.toml", tmp_path / "new.toml"
    path.write_text("a", encoding="utf-8")
    other.write_text("b", encoding="utf-8")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    first = stamp_of(path)
    other.replace(path)
    assert stamp_of(path) != first


def test_a_file_that_cannot_be_looked_at_has_no_stamp(tmp_path: Path) -> None:
    """A folder that is missing on the way to it is no error of ours."""
    assert stamp_of(tmp_path / "nowhere" / "inglenook.toml") is None


def content_of(path: Path) -> str:
    """Return what is in a file."""
    return path.read_text(encoding="utf-8") if path.exists() else "(gone)"


@dataclass
class Looks:
    """A watch that looks when the test says so, and what it read."""

    path: Path
    read: list[str] = field(default_factory=list)
    go: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    paused: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def changed(self) -> None:
        """Note what is in the file."""
        self.read.append(await asyncio.to_thread(content_of, self.path))

    async def pause(self) -> None:
        """Wait for the test."""
        self.paused.release()
        await self.go.acquire()

    async def look(self, times: int = 2) -> list[str]:
        """Let it look so many times more, and return what it has read in all."""
        for _ in range(times):
            self.go.release()
            await self.paused.acquire()
        return self.read


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Looks]:
    """Watch a file; the first two looks have been taken."""
    looks = Looks(path)
    watching = asyncio.create_task(watch(path, looks.changed, looks.pause))
    await looks.paused.acquire()
    await looks.look(1)
    try:
        yield looks
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def test_a_rewritten_a_renamed_and_a_removed_file_are_each_noticed_once(tmp_path: Path) -> None:
    """And so is its return."""
    path, other = tmp_path / "inglenook.toml", tmp_path / "new.toml"
    path.write_text("one", encoding="utf-8")
    async with watched(path) as looks:
        path.write_text("two!", encoding="utf-8")
        await looks.look(3)
        other.write_text("three", encoding="utf-8")
        other.replace(path)
        await looks.look(3)
        path.unlink()
        await looks.look(3)
        path.write_text("four", encoding="utf-8")
        assert await looks.look(3) == ["one", "two!", "three", "(gone)", "four"]


async def test_a_config_map_of_kubernetes_is_noticed_though_the_file_itself_stays(tmp_path: Path) -> None:
    """The file is a link into a folder that is a link, and only the latter is replaced."""
    path, data = tmp_path / "inglenook.toml", tmp_path / "..data"
    for version in ("one", "two"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "inglenook.toml").write_text(version, encoding="utf-8")
    data.symlink_to("..one")
    path.symlink_to("..data/inglenook.toml")
    async with watched(path) as looks:
        (tmp_path / "..data_tmp").symlink_to("..two")
        (tmp_path / "..data_tmp").replace(data)
        assert await looks.look() == ["one", "two"]
