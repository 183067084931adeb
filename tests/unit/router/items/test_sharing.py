"""Callers that want the same at the same time have it computed once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from inglenook.embed.v1 import EmbedRequest

from services.chassis.errors import DeadlinePassed
from tests.support.item_backend import EMBED, Items
from tests.support.item_desk import Desk, same, settled


class Held:
    """Keeps a backend from answering.

    Attributes:
        open: Lets it answer.
        error: Raised in place of the next answers.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def before(self, request: Any) -> None:
        """Wait."""
        del request
        await self.open.wait()
        if self.error is not None:
            raise self.error


def holding() -> tuple[Desk, Held]:
    """Return a desk whose backend does not answer yet."""
    held = Held()
    return Desk(EMBED, Items(before=held.before)), held


async def test_fifty_callers_with_overlapping_texts_compute_each_text_once() -> None:
    """Each leads some texts and waits for others, whatever the order, and nobody waits for ever."""
    desk, held = holding()
    texts = [f"text {number}" for number in range(20)]
    requests = [
        EmbedRequest(inputs=[texts[(start * 7 + step * stride) % 20] for step in range(6)])
        for start, stride in zip(range(50), [1, 3, 7, 9, 11, 13, 17, 19, 2, 5] * 5, strict=True)
    ]
    calls = [asyncio.create_task(desk.ask(request)) for request in requests]
    await settled()
    held.open.set()
    responses = await asyncio.gather(*calls)
    assert set(desk.items.computed.values()) == {1}
    for request, response in zip(requests, responses, strict=True):
        assert same(response, await desk.directly(request))
    assert not len(desk.cache.flights)


async def test_texts_that_others_compute_cost_a_caller_nothing() -> None:
    """They count as cached: nothing was computed for this call."""
    desk, held = holding()
    leading = asyncio.create_task(desk.ask(EmbedRequest(inputs=["a", "b"])))
    await settled()
    waiting = asyncio.create_task(desk.ask(EmbedRequest(inputs=["b", "c"])))
    await settled()
    held.open.set()
    led, waited = await leading, await waiting
    assert (led.cached_inputs, led.usage.input_tokens) == (0, 2)
    assert (waited.cached_inputs, waited.usage.input_tokens) == (1, 1)


async def test_callers_are_answered_although_the_one_who_computed_for_them_has_left() -> None:
    """One of those who waited computes it, for all of them."""
    desk, held = holding()
    request = EmbedRequest(inputs=["a", "b"])
    leading = asyncio.create_task(desk.ask(request))
    await settled()
    waiting = [asyncio.create_task(desk.ask(request)) for _ in range(10)]
    await settled()
    leading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leading
    await settled()
    held.open.set()
    for response in await asyncio.gather(*waiting):
        assert same(response, await desk.directly(request))
    assert desk.items.computed.total() == 2
    assert len(desk.route.asked) == 2
    assert not len(desk.cache.flights)


async def test_one_callers_failure_is_not_the_others() -> None:
    """Whoever leads gets the error, and so does the next one; the others ask for themselves."""
    desk, held = holding()
    held.error = ConnectionError()
    calls = [asyncio.create_task(desk.ask(EmbedRequest(inputs=["a"]))) for _ in range(10)]
    await settled()
    held.open.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, ConnectionError) for outcome in outcomes)
    assert len(desk.route.asked) == 10
    assert not len(desk.cache.flights)
    held.error = None
    await desk.ask(EmbedRequest(inputs=["a"]))


async def test_waiting_for_others_ends_at_the_callers_deadline() -> None:
    """Not at theirs: a caller in a hurry is told so, and the one who computes is not disturbed."""
    desk, held = holding()
    leading = asyncio.create_task(desk.ask(EmbedRequest(inputs=["a"])))
    await settled()
    with pytest.raises(DeadlinePassed):
        await desk.ask(EmbedRequest(inputs=["a"]), seconds=0.001)
    held.open.set()
    assert (await leading).usage.input_tokens == 1


async def test_what_was_purged_meanwhile_is_not_kept() -> None:
    """Whoever purges wants nothing back that was asked for before."""
    desk, held = holding()
    call = asyncio.create_task(desk.ask(EmbedRequest(inputs=["a"])))
    await settled()
    await desk.cache.purge()
    held.open.set()
    await call
    await desk.ask(EmbedRequest(inputs=["a"]))
    assert desk.said["inglenook-cache"] == "miss"


async def test_a_part_that_fails_ends_the_others() -> None:
    """A split call fails once, with the error of that part, and nothing of it goes on."""
    ended = asyncio.Event()

    async def fail(request: Any) -> None:
        del request
        raise ConnectionError

    async def hang(request: Any) -> None:
        del request
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    desk = Desk(EMBED, Items(before=hang), Items(before=fail), split_inputs=1)
    with pytest.raises(ConnectionError):
        await desk.ask(EmbedRequest(inputs=["a", "b"]))
    assert ended.is_set()
    assert not len(desk.cache.flights)


async def test_what_is_known_once_redis_has_answered_is_not_computed_again() -> None:
    """Another call may have computed it while this one asked Redis."""
    desk = Desk(EMBED)
    answered = asyncio.Event()

    async def get_many(keys: Sequence[bytes]) -> list[bytes | None]:
        await answered.wait()
        return [None] * len(keys)

    desk.cache.remote = True
    desk.cache.get_many = get_many  # type: ignore[method-assign]  # as slow as the test says
    call = asyncio.create_task(desk.ask(EmbedRequest(inputs=["a", "b"])))
    await settled()
    await desk.ask(EmbedRequest(inputs=["a"]), "refresh")
    answered.set()
    response = await call
    assert (response.cached_inputs, response.usage.input_tokens) == (1, 1)
    assert set(desk.items.computed.values()) == {1}
    assert not len(desk.cache.flights)


async def test_nobody_waits_for_what_was_being_computed_when_the_cache_was_purged() -> None:
    """A purge is asked for because answers are wrong; those who come after it get none of before."""
    desk, held = holding()
    request = EmbedRequest(inputs=["a"])
    early = asyncio.create_task(desk.ask(request))
    await settled()
    await desk.cache.purge()
    late = [asyncio.create_task(desk.ask(request)) for _ in range(3)]
    await settled()
    assert len(desk.items.requests) == 2
    held.open.set()
    await asyncio.gather(early, *late)
    assert len(desk.items.requests) == 2
    assert not len(desk.cache.flights)
