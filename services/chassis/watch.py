"""Notices that a file was replaced, rewritten or removed, without being told by the system.

Looking once a second works everywhere: on network file systems, in containers, and for the ConfigMaps of
Kubernetes, where the file is a link and what changes is a folder two links further on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 1.0
"""How often a file is looked at. A change is read after it has been seen unchanged once more."""

NEVER: Final = object()


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one version of a file from the next without reading it; of the file that links lead to."""

    modified_ns: int
    size: int
    inode: int
    device: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of the file at `path`; None if there is none that can be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


class Changes:
    """Says when a file is to be read, from the stamps that were seen of it.

    A version is due once, and only when it has been seen twice in a row: what is half written has another
    size or time by then. That a file is gone counts as a version, too. The first one is always due: it may
    have changed between being read and being watched.
    """

    def __init__(self) -> None:
        self._seen: object = NEVER
        self._taken: object = NEVER

    def is_due(self, stamp: Stamp | None) -> bool:
        """Take the next stamp, and say whether the file is to be read now."""
        is_stable, self._seen = stamp == self._seen, stamp
        if not is_stable or stamp == self._taken:
            return False
        self._taken = stamp
        return True


async def _next_poll() -> None:
    await asyncio.sleep(POLL_SECONDS)


async def watch(
    path: Path, changed: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]] = _next_poll
) -> None:
    """Await `changed` for every new version of the file at `path`, for ever.

    Args:
        path: The file. Links in it are followed anew each time.
        changed: Reads the file; must not raise.
        pause: Waits until it is time to look again.
    """
    changes = Changes()
    while True:
        if changes.is_due(await asyncio.to_thread(stamp_of, path)):
            await changed()
        await pause()
