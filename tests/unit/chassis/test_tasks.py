"""Ending tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from services.chassis.tasks import end


async def test_tasks_have_ended_afterwards_whatever_they_raise() -> None:
    """One that has failed long ago, one that runs for ever, and one that there is not."""

    async def fail() -> None:
        raise OSError

    failing, running = asyncio.create_task(fail()), asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    await end(failing, running, None)
    assert isinstance(failing.exception(), OSError)
    assert running.cancelled()
    await end()


async def test_who_is_cancelled_while_waiting_is_cancelled() -> None:
    """Else a loop that ends something on its way could not be ended itself."""
    leaving = asyncio.Event()

    async def linger() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await leaving.wait()

    lingering = asyncio.create_task(linger())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(lingering))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    leaving.set()
    await lingering
