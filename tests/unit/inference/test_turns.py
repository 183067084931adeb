from __future__ import annotations

import asyncio

import pytest

from services.inference.models.turns import turns


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25])
async def test_every_item_is_in_one_slice(count: int) -> None:
    """In order, ten to a slice, and no empty slice at the end."""
    items = list(range(count))

    parts = [items[part] async for part in turns(count, 10)]

    assert [item for part in parts for item in part] == items
    assert [len(part) for part in parts] == [10] * (count // 10) + [count % 10] * (count % 10 > 0)


async def test_other_tasks_go_on_between_two_slices() -> None:
    """A large call must not keep small ones from being answered."""
    seen: list[str] = []

    async def other() -> None:
        for _ in range(2):
            seen.append("other")
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async for part in turns(30, 10):
        seen += [str(part.start)]
    await task

    assert seen == ["0", "other", "10", "other", "20"]
