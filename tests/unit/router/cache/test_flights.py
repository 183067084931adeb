"""Single flight: each key is computed once, and nobody is stuck with anybody else's failure."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.router.cache.flights import Flights


async def test_the_first_leads_and_the_others_wait_for_its_answer() -> None:
    """Each key is led by one caller, in the order it asked in."""
    flights = Flights()
    assert flights.board([b"b", b"a", b"b"]) == ([b"b", b"a"], {})
    led, awaited = flights.board([b"a", b"c"])
    assert (led, list(awaited)) == ([b"c"], [b"a"])
    flights.land({b"a": b"answer"})
    assert await awaited[b"a"] == b"answer"
    flights.land({b"b": b"1", b"c": b"2"})
    assert len(flights) == 0


async def test_when_the_leader_leaves_the_waiters_are_told_to_compute_themselves() -> None:
    """A failure of one call is not one of another."""
    flights = Flights()
    led, _ = flights.board([b"a", b"b"])
    _, awaited = flights.board([b"a", b"b"])
    flights.abandon(led)
    assert [await awaited[key] for key in led] == [None, None]
    assert flights.board([b"a"])[0] == [b"a"]


async def test_a_waiter_that_leaves_disturbs_neither_the_leader_nor_the_others() -> None:
    """Its future is its own."""
    flights = Flights()
    flights.board([b"a"])
    waiting = [asyncio.ensure_future(flights.board([b"a"])[1][b"a"]) for _ in range(3)]
    waiting[1].cancel()
    flights.land({b"a": b"answer"})
    assert await waiting[0] == await waiting[2] == b"answer"
    assert waiting[1].cancelled()


async def test_a_flight_is_landed_once() -> None:
    """Landing what has landed or was never led does nothing; the next caller leads anew."""
    flights = Flights()
    flights.land({b"a": b"nobody waits"})
    flights.board([b"a"])
    flights.land({b"a": b"1"})
    flights.abandon([b"a"])
    assert flights.board([b"a"]) == ([b"a"], {})


@pytest.mark.parametrize("seed", range(5))
async def test_every_waiter_gets_an_answer_or_leave_to_compute_whatever_happens(seed: int) -> None:
    """Callers that lead, fail, are cancelled and come back: no answer is wrong, none is owed in the end."""
    chance = random.Random(seed)
    flights = Flights()
    computing: dict[bytes, int] = {}

    async def call() -> None:
        wanted = [b"%d" % chance.randrange(6) for _ in range(chance.randrange(1, 5))]
        led, awaited = flights.board(wanted)
        assert {*led, *awaited} == set(wanted)
        left = set(led)
        try:
            for key in led:
                computing[key] = computing.get(key, 0) + 1
                assert computing[key] == 1, "computed twice at once"
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                computing[key] -= 1
                if chance.random() < 0.2:
                    return
                flights.land({key: b"answer to " + key})
                left.discard(key)
        finally:
            for key in left:
                computing[key] = 0
            flights.abandon(left)
        for key, future in awaited.items():
            assert await future in {None, b"answer to " + key}

    tasks = []
    for _ in range(200):
        tasks.append(asyncio.create_task(call()))
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    assert len(flights) == 0
