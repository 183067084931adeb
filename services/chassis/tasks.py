"""Ending tasks that run until they are told to stop."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks, and return when they have ended, however; None stands for one that there is not.

    To await a cancelled task and to suppress what it raises would also suppress the caller's own
    cancellation, which is meant for the caller and must reach it.
    """
    under_way = [task for task in tasks if task is not None]
    for task in under_way:
        task.cancel()
    if under_way:
        await asyncio.wait(under_way)
