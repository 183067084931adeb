"""How much memory this process has, as measured, and giving back what it no longer uses."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import resource
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
MAPPED_WEIGHTS: Final = re.compile(
    rb"\.onnx[._]data(?: \(deleted\))?\nSize: +(\d+) kB\n(?:\w+: .*\n)*?Rss: +(\d+) kB\n"
)
"""Size and resident part, in KiB, of each mapping of a file that graphs keep their weights in."""

LARGE_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""Blocks from this size on go back to the system when they are freed. Large enough for what one batch
allocates and frees to stay."""


def resident_bytes() -> int:
    """Return the resident set size in bytes; where the system does not tell, its peak."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def claimed_bytes() -> int:
    """Return the resident set size in bytes, with all of what graphs have mapped into memory.

    Large weights are mapped from their file, and a page of them becomes resident when a call first touches
    it. A table of words would show weeks later, call by call; a budget has to count it when the model comes
    in.
    Reads proc(5)'s `smaps`, which takes milliseconds: for a worker thread. Where there is none, this is the
    resident set size.
    """
    missing = 0
    with suppress(OSError):
        for size, resident in MAPPED_WEIGHTS.findall(Path("/proc/self/smaps").read_bytes()):
            missing += int(size) - int(resident)
    return resident_bytes() + missing * 1024


def release_freed_memory() -> None:
    """Give memory that was freed back to the system. For a worker thread: it takes milliseconds.

    Objects that hold each other are collected first. glibc keeps what was freed in its arenas, where it
    counts as resident, until it is told to give it back (malloc_trim(3)). Other C libraries have no such
    call and are left alone.
    """
    gc.collect()
    with suppress(AttributeError, OSError):
        _glibc().malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL:
    """Return the C library, and hold it to what can be given back.

    By itself, glibc moves its thresholds up to the largest block that was ever freed (mallopt(3)): after one
    model has gone, the weights of the next ones, up to 32 MB each, are put where malloc_trim does not reach
    them if a thread of their own allocated them.
    """
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    library.mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES)
    return library
