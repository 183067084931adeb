"""Whatever callers want, in whatever order they come and go, each answer is one that a model gives."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.embed.v1 import EmbedRequest

from tests.support.item_backend import EMBED, Items
from tests.support.item_desk import Desk, same

TEXTS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6)
MODES = st.sampled_from([None, "on", "off", "read-only", "refresh"])
FINGERPRINTS = st.sampled_from(["f1", "f2"])

examples = settings(deadline=None, max_examples=50)


async def said_by(fingerprint: str, request: EmbedRequest) -> Any:
    """Return what a model says by itself."""
    desk = Desk(EMBED, Items(fingerprint))
    return await desk.directly(request)


@examples
@given(st.lists(st.tuples(TEXTS, MODES, FINGERPRINTS, FINGERPRINTS, FINGERPRINTS), max_size=6))
def test_an_answer_is_never_a_mixture(
    calls: list[tuple[list[str], str | None, str, str, str]],
) -> None:
    """While replicas are replaced, and whatever the router believes that they have, one model answers."""

    async def run() -> None:
        first, second = Items(), Items()
        desk = Desk(EMBED, first, second, split_inputs=2)
        for texts, mode, known, now, other in calls:
            desk.route.known, first.fingerprint, second.fingerprint = known, now, other
            request = EmbedRequest(inputs=texts)
            response = await desk.ask(request, mode)
            models = {known, now, other}
            expected = [await said_by(fingerprint, request) for fingerprint in models]
            assert any(same(response, one) for one in expected)
            assert not len(desk.cache.flights)

    asyncio.run(run())


@examples
@given(
    st.lists(st.tuples(TEXTS, MODES, st.none() | st.integers(0, 12)), min_size=1, max_size=8),
    st.integers(0, 4),
    st.integers(0, 2),
)
def test_callers_that_come_and_go_leave_the_others_their_answers(
    calls: list[tuple[list[str], str | None, int | None]], turns: int, split_inputs: int
) -> None:
    """Some leave at any moment; all others are answered, rightly, and nothing is left behind."""

    async def wait(request: Any) -> None:
        del request
        for _ in range(turns):
            await asyncio.sleep(0)

    async def leave(task: asyncio.Task[Any], after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()

    async def run() -> None:
        desk = Desk(EMBED, Items(before=wait), Items(before=wait), split_inputs=split_inputs)
        requests = [EmbedRequest(inputs=texts) for texts, _, _ in calls]
        asking = [
            asyncio.create_task(desk.ask(request, mode))
            for request, (_, mode, _) in zip(requests, calls, strict=True)
        ]
        stays = [after is None for _, _, after in calls]
        leaving = [
            asyncio.create_task(leave(task, after))
            for task, (_, _, after) in zip(asking, calls, strict=True)
            if after is not None
        ]
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.gather(*leaving)
        for request, outcome, stay in zip(requests, outcomes, stays, strict=True):
            assert not stay or not isinstance(outcome, BaseException)
            if not isinstance(outcome, BaseException):
                assert same(outcome, await desk.directly(request))
        assert not len(desk.cache.flights)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
