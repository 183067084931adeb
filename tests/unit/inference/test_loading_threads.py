"""Threads of their own for work that may take minutes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from services.inference.loading.threads import in_own_thread
from tests.support.engine_parts import LIMIT_SECONDS

HANGS = """
import asyncio, threading
from services.inference.loading.threads import in_own_thread

async def main():
    begun = threading.Event()
    def work():
        begun.set()
        threading.Event().wait()
    task = asyncio.create_task(in_own_thread(work, "hangs"))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

asyncio.run(main())
"""


async def test_result_and_error_reach_who_waits() -> None:
    """Errors of every kind: one from native code that is no Exception would otherwise be lost."""

    def fail() -> None:
        raise KeyError

    def panic() -> None:
        raise GeneratorExit

    assert await in_own_thread(lambda: threading.current_thread().name, "worker") == "worker"
    with pytest.raises(KeyError):
        await in_own_thread(fail, "worker")
    with pytest.raises(GeneratorExit):
        await in_own_thread(panic, "worker")


async def test_work_that_hangs_keeps_no_other_work_from_running() -> None:
    """More of it than the event loop's pool has threads."""
    gate = threading.Event()
    many = 2 * (os.cpu_count() or 1) + 8
    stuck = [asyncio.create_task(in_own_thread(gate.wait, "stuck")) for _ in range(many)]

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await in_own_thread(lambda: 7, "quick") == 7
        assert await asyncio.to_thread(lambda: 8) == 8
        gate.set()
        await asyncio.gather(*stuck)


async def test_caller_that_leaves_hears_nothing_more() -> None:
    """Its result comes when nobody waits any longer; that is no error of the event loop's."""
    gate = threading.Event()
    task = asyncio.create_task(in_own_thread(gate.wait, "slow"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await in_own_thread(lambda: 1, "next") == 1


def test_process_ends_although_work_hangs() -> None:
    """A service that is told to stop does not wait for a download that nobody can use any more."""
    ended = subprocess.run([sys.executable, "-c", HANGS], timeout=LIMIT_SECONDS * 3, check=False)

    assert ended.returncode == 0
