"""Errors are those of the backend, with the paths of the caller's own request."""

from __future__ import annotations

from typing import Any

import pytest
from inglenook.embed.v1 import EmbedRequest, Encoding
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from services.chassis.errors import DeadlinePassed, Relayed
from services.router.errors import Garbled
from tests.support.item_backend import CLASSIFY, EMBED, INFER, RERANK, Items
from tests.support.item_desk import Desk, same

GOOD, BAD = ["a", "b", "c"], ["a", "b", "c", " ", "a", ""]


def pairs(texts: list[str]) -> list[Pair]:
    """Return texts as pairs."""
    return [Pair(premise=text, hypothesis="h") for text in texts]


CASES: list[tuple[str, Any, Any]] = [
    (EMBED, EmbedRequest(inputs=GOOD), EmbedRequest(inputs=BAD)),
    (EMBED, EmbedRequest(inputs=GOOD), EmbedRequest(inputs=["a", "d"], dimensions=99)),
    (RERANK, RerankRequest(query="q", documents=GOOD), RerankRequest(query="q", documents=BAD)),
    (RERANK, RerankRequest(query="q", documents=GOOD), RerankRequest(documents=GOOD)),
    (INFER, InferRequest(pairs=pairs(GOOD)), InferRequest(pairs=pairs(BAD))),
    (CLASSIFY, ClassifyRequest(inputs=GOOD, labels=["x"]), ClassifyRequest(inputs=BAD, labels=["x"])),
]


async def failure(desk: Desk, request: Any, mode: str) -> Relayed:
    """Return how a call fails."""
    with pytest.raises(Relayed) as raised:
        await desk.ask(request, mode)
    return raised.value


@pytest.mark.parametrize("split_inputs", [0, 2])
@pytest.mark.parametrize(("method", "good", "bad"), CASES)
async def test_refusals_are_those_without_a_cache(
    method: str, good: Any, bad: Any, split_inputs: int
) -> None:
    """Also when the items before the wrong one were known, or computed by another replica."""
    expected = await failure(Desk(method), bad, "off")
    desk = Desk(method, Items(), Items(), split_inputs=split_inputs)
    for warm in (False, True):
        if warm:
            await desk.ask(good)
        found = await failure(desk, bad, "on")
        assert (found.code, found.message) == (expected.code, expected.message)
        assert found.trailing_metadata == expected.trailing_metadata
    assert not len(desk.cache.flights)


async def test_a_refusal_that_names_the_callers_own_items_is_not_asked_for_twice() -> None:
    """All items were asked for in order, so that the paths are right as they are."""
    desk = Desk(EMBED)
    await failure(desk, EmbedRequest(inputs=["a", ""]), "on")
    assert len(desk.route.asked) == 1


def fewer(response: Any) -> None:
    """Leave out the last result."""
    del (response.embeddings if hasattr(response, "embeddings") else response.results)[-1]


def none_at_all(response: Any) -> None:
    """Leave out all of them."""
    response.Clear()


def ragged(response: Any) -> None:
    """Make one embedding shorter."""
    response.embeddings[0].packed = response.embeddings[0].packed[:-4]


def cut_short(response: Any) -> None:
    """Cut embeddings in the middle of a number."""
    for one in response.embeddings:
        one.packed = one.packed[:-1]


def twice(response: Any) -> None:
    """Score one document twice, and another not at all."""
    response.results[0].index = response.results[1].index


def shorter(response: Any) -> None:
    """Leave out a number of each embedding."""
    for one in response.embeddings:
        one.packed = one.packed[:-4]


SPOILT: list[tuple[str, Any, Any]] = [
    (EMBED, EmbedRequest(inputs=GOOD), fewer),
    (EMBED, EmbedRequest(inputs=GOOD), none_at_all),
    (EMBED, EmbedRequest(inputs=GOOD), ragged),
    (EMBED, EmbedRequest(inputs=GOOD), cut_short),
    (EMBED, EmbedRequest(inputs=GOOD, dimensions=4), shorter),
    (RERANK, RerankRequest(query="q", documents=GOOD), fewer),
    (RERANK, RerankRequest(query="q", documents=GOOD), twice),
    (INFER, InferRequest(pairs=pairs(GOOD)), fewer),
    (CLASSIFY, ClassifyRequest(inputs=GOOD, labels=["x"]), fewer),
]


@pytest.mark.parametrize(("method", "request_", "spoil"), SPOILT)
async def test_an_answer_that_does_not_fit_is_a_fault_and_never_misaligned(
    method: str, request_: Any, spoil: Any
) -> None:
    """Nobody gets another item's answer; nothing of it is kept, and the next call is answered."""
    desk = Desk(method)
    desk.items.spoil = spoil
    with pytest.raises(Garbled):
        await desk.ask(request_)
    desk.items.spoil = None
    assert same(await desk.ask(request_), await desk.directly(request_))
    assert desk.said["inglenook-cache"] == "miss"
    assert not len(desk.cache.flights)


@pytest.mark.parametrize("mode", ["on", "off"])
async def test_numbers_that_are_none_are_no_answer(mode: str) -> None:
    """A program that puts NaN into its index loses what it searches for; an error can be seen."""
    desk = Desk(EMBED)

    def spoil(response: Any) -> None:
        response.embeddings[0].packed = b"\x00\x00\xc0\x7f" * 8

    desk.items.spoil = spoil
    request = EmbedRequest(inputs=["a", "b"], encoding=Encoding.ENCODING_FLOAT32)
    with pytest.raises(Garbled):
        await desk.ask(request, mode)
    desk.items.spoil = None
    assert same(await desk.ask(request, mode), await desk.directly(request))
    assert desk.said["inglenook-cache"] in {"miss", "bypass"}


@pytest.mark.parametrize("method", [INFER, CLASSIFY])
async def test_a_backend_that_knows_no_logits_still_answers(method: str) -> None:
    """An older nli service is asked the call as it came; nothing that lacks its logits is kept."""
    desk = Desk(method)

    def spoil(response: Any) -> None:
        for result in response.results:
            if hasattr(result, "raw_scores"):
                result.ClearField("raw_scores")

    desk.items.spoil = spoil
    request: Any = {
        INFER: InferRequest(pairs=pairs(GOOD)),
        CLASSIFY: ClassifyRequest(inputs=GOOD, labels=["x", "y"]),
    }[method]
    for _ in range(2):
        assert same(await desk.ask(request), await desk.directly(request))
        assert desk.said["inglenook-cache"] in {"bypass", "miss"}


async def test_a_call_without_time_left_is_over() -> None:
    """The deadline is the caller's, also for what has to be asked."""
    with pytest.raises(DeadlinePassed):
        await Desk(EMBED).ask(EmbedRequest(inputs=["a"]), seconds=0.0)


@pytest.mark.parametrize("mode", ["on", "read-only"])
async def test_embeddings_that_do_not_go_together_are_computed_anew(mode: str) -> None:
    """What a faulty replica once gave does not fail calls for as long as it is kept."""
    desk = Desk(EMBED)
    desk.items.spoil = shorter
    await desk.ask(EmbedRequest(inputs=["a"]))
    desk.items.spoil = None
    await desk.ask(EmbedRequest(inputs=["b"]))
    request = EmbedRequest(inputs=["b", "a", "c"])
    assert same(await desk.ask(request, mode), await desk.directly(request))
    assert desk.said["inglenook-cache"] == "miss"
    if mode == "on":
        assert same(await desk.ask(request), await desk.directly(request))
        assert desk.said["inglenook-cache"] == "hit"


async def test_a_call_whose_pairs_would_fill_the_memory_is_passed_on_as_it_came() -> None:
    """Each label stands beside each text, so that a megabyte would become half a gigabyte."""
    desk = Desk(CLASSIFY)
    request = ClassifyRequest(inputs=[f"text {number}" for number in range(512)], labels=["x" * 50_000, "y"])
    response = await desk.ask(request)
    assert [ask.method for ask in desk.route.asked] == [CLASSIFY]
    assert desk.said["inglenook-cache"] == "bypass"
    assert same(response, await desk.directly(request))
