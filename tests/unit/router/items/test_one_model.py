"""One answer is of one model, also while replicas are being replaced, and calls are split over them."""

from __future__ import annotations

import pytest
from inglenook.embed.v1 import EmbedRequest
from inglenook.rerank.v1 import RerankRequest

from tests.support.item_backend import EMBED, RERANK, Items
from tests.support.item_desk import Desk, same

OLD, NEW = "f1", "f2"


async def test_known_items_are_not_mixed_with_those_of_another_model() -> None:
    """The whole call is asked again of one replica, and kept under the fingerprint that came with it."""
    desk = Desk(EMBED)
    await desk.ask(EmbedRequest(inputs=["a", "b"]))
    desk.route.known, desk.items.fingerprint = OLD, NEW
    request = EmbedRequest(inputs=["a", "c", "b", "c"])
    response = await desk.ask(request)
    assert (response.cached_inputs, desk.said["inglenook-cache"]) == (0, "miss")
    assert [list(one.inputs) for _, one in desk.items.requests[1:]] == [["c"], ["a", "c", "b"]]
    assert same(response, await desk.directly(request))

    desk.route.known = NEW
    await desk.ask(request)
    assert desk.said["inglenook-cache"] == "hit"
    desk.route.known = OLD
    desk.items.fingerprint = OLD
    await desk.ask(EmbedRequest(inputs=["a", "b"]))
    assert desk.said["inglenook-cache"] == "hit"
    await desk.ask(EmbedRequest(inputs=["c"]))
    assert desk.said["inglenook-cache"] == "miss"


async def test_an_answer_of_another_model_that_is_whole_is_not_asked_for_twice() -> None:
    """Nothing was known, so there is nothing that it could be mixed with."""
    desk = Desk(EMBED)
    desk.route.known, desk.items.fingerprint = OLD, NEW
    request = EmbedRequest(inputs=["a", "c", "a"])
    response = await desk.ask(request)
    assert len(desk.items.requests) == 1
    assert same(response, await desk.directly(request))
    desk.route.known = NEW
    await desk.ask(request)
    assert desk.said["inglenook-cache"] == "hit"


async def test_an_answer_without_a_fingerprint_is_not_kept() -> None:
    """What it was computed with can only be guessed, and guesses are not kept."""
    desk = Desk(EMBED)
    desk.route.known, desk.items.fingerprint = OLD, ""
    for _ in range(2):
        await desk.ask(EmbedRequest(inputs=["a"]))
        assert desk.said["inglenook-cache"] == "miss"
    assert desk.items.computed.total() == 2


@pytest.mark.parametrize("mode", ["on", "off"])
async def test_parts_of_two_models_are_asked_for_again_in_one_piece(mode: str) -> None:
    """Replicas that are being replaced may share a call; its answer is of one of them all the same."""
    old, new = Items(OLD), Items(NEW)
    desk = Desk(RERANK, old, new, split_inputs=2)
    request = RerankRequest(query="q", documents=["a", "b", "c", "d", "e"])
    response = await desk.ask(request, mode)
    assert [len(ask.documents) for one in (old, new) for _, ask in one.requests] == [2, 5, 3]
    assert same(response, await desk.directly(request))


@pytest.mark.parametrize("mode", ["on", "off"])
async def test_large_calls_are_split_with_and_without_a_cache(mode: str) -> None:
    """Each replica computes a part; what it cost is added up, and the longest time counts."""
    backends = [Items(), Items(), Items()]
    desk = Desk(EMBED, *backends, split_inputs=4)
    request = EmbedRequest(inputs=[f"text {number}" for number in range(11)])
    response = await desk.ask(request, mode)
    assert [len(one.requests[0][1].inputs) for one in backends] == [3, 4, 4]
    assert response.usage.input_tokens == sum(map(len, request.inputs))
    assert response.timings.inference_time.nanos == 700
    assert response.timings.total_time.nanos > 900
    assert same(response, await desk.directly(request))
    assert desk.said["inglenook-cache"] == ("miss" if mode == "on" else "bypass")


async def test_only_what_is_missing_counts_for_a_split() -> None:
    """A large call of which little has to be computed is not worth several calls."""
    desk = Desk(EMBED, Items(), Items(), split_inputs=4)
    texts = [f"text {number}" for number in range(12)]
    for first in range(0, 8, 4):
        await desk.ask(EmbedRequest(inputs=texts[first : first + 4]))
    desk.route.asked.clear()
    response = await desk.ask(EmbedRequest(inputs=texts))
    assert len(desk.route.asked) == 1
    assert response.cached_inputs == 8
