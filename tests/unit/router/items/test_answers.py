"""Calls answered from the cache, in whole or in part, say what the backend would have said."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from tests.support.item_backend import CLASSIFY, EMBED, INFER, RERANK
from tests.support.item_desk import Desk, same

TEXTS = st.sampled_from(["a", "b", "cc", "the cat", "\u6c34 \u0436", "x\x00y", "a b", "9"])
MANY = st.lists(TEXTS, min_size=1, max_size=8)
MAYBE = st.none() | st.booleans()

EMBEDS = st.builds(
    EmbedRequest,
    model=st.sampled_from(["", "m"]),
    inputs=MANY,
    input_type=st.integers(0, 2),
    dimensions=st.none() | st.integers(1, 7),  # 8 is all, which only the backend knows
    normalize=MAYBE,
    truncation=st.integers(0, 3),
    encoding=st.integers(0, 2),
)
INFERS = st.builds(
    InferRequest,
    pairs=st.lists(st.builds(Pair, premise=TEXTS, hypothesis=TEXTS), min_size=1, max_size=8),
    truncation=st.integers(0, 3),
    raw_scores=st.booleans(),
)
CLASSIFIES = st.builds(
    ClassifyRequest,
    inputs=MANY,
    labels=st.lists(TEXTS, min_size=1, max_size=4, unique=True),
    hypothesis_template=st.sampled_from(["", "it is {}", "{}", "{{}"]),
    multi_label=st.booleans(),
    truncation=st.integers(0, 3),
)

examples = settings(deadline=None, max_examples=50)


@st.composite
def reranks(draw: st.DrawFn) -> RerankRequest:
    """Draw a request for a ranking."""
    documents = draw(MANY)
    return RerankRequest(
        query=draw(TEXTS),
        documents=documents,
        top_n=draw(st.none() | st.integers(1, len(documents))),
        return_documents=draw(st.booleans()),
        raw_scores=draw(st.booleans()),
        truncation=draw(st.sampled_from(Truncation.values())),
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine of one example."""
    asyncio.run(test)


async def check(method: str, requests: list[Any], split_inputs: int = 0) -> None:
    """Make calls one after the other, and compare each with what a backend says to it."""
    desk = Desk(method, split_inputs=split_inputs)
    desk.route.width = 3
    for request in requests:
        before = desk.items.computed.total()
        response = await desk.ask(request)
        computed = desk.items.computed.total() - before
        assert desk.said["inglenook-cache"] in (("hit",) if not computed else ("partial", "miss"))
        assert bool(response.usage.input_tokens) == bool(computed)
        assert response.usage.HasField("input_tokens")
        assert (response.cached_inputs == 0) == (desk.said["inglenook-cache"] == "miss")
        expected = await desk.directly(request)
        assert same(response, expected)
    assert set(desk.items.computed.values()) <= {1}


@examples
@given(st.lists(EMBEDS, min_size=1, max_size=5))
def test_embeddings_are_those_of_the_backend_whatever_was_known(requests: list[EmbedRequest]) -> None:
    """To the last bit, in order, in either encoding, and no text is computed twice with the same options."""
    run(check(EMBED, requests))


@examples
@given(st.lists(reranks(), min_size=1, max_size=5))
def test_rankings_are_those_of_the_backend_whatever_was_known(requests: list[RerankRequest]) -> None:
    """Scores, order, ties, `top_n` and documents; no document is scored twice for one query."""
    run(check(RERANK, requests))


@examples
@given(st.lists(INFERS, min_size=1, max_size=5))
def test_inferences_are_those_of_the_backend_whatever_was_known(requests: list[InferRequest]) -> None:
    """With and without logits, which are kept in any case; no pair is judged twice."""
    run(check(INFER, requests))


@examples
@given(st.lists(CLASSIFIES, min_size=1, max_size=5))
def test_classifications_are_those_of_the_backend_whatever_was_known(requests: list[ClassifyRequest]) -> None:
    """Scores made here of logits are those that the service makes, to the last bit; so are ties."""
    run(check(CLASSIFY, requests))


@examples
@given(st.lists(EMBEDS, min_size=1, max_size=3), st.integers(1, 4))
def test_split_calls_are_answered_as_whole_ones(requests: list[EmbedRequest], split_inputs: int) -> None:
    """However many parts there are, what comes back is in order, and computed once."""
    run(check(EMBED, requests, split_inputs))


async def test_infer_and_classify_share_what_they_know() -> None:
    """A label that was asked about as a pair is not judged again, nor the other way round."""
    desk = Desk(CLASSIFY)
    await desk.ask(ClassifyRequest(inputs=["a"], labels=["x", "y"], hypothesis_template="is {}"))
    desk.method = INFER
    pairs = [Pair(premise="a", hypothesis="is x"), Pair(premise="a", hypothesis="is z")]
    response = await desk.ask(InferRequest(pairs=pairs))
    assert response.cached_inputs == 1
    assert desk.said["inglenook-cache"] == "partial"
    assert set(desk.items.computed.values()) == {1}


async def test_what_is_asked_for_twice_in_one_call_is_computed_once() -> None:
    """Duplicates are not cached items: they were computed for this call, and cost it nothing more."""
    desk = Desk(EMBED)
    response = await desk.ask(EmbedRequest(inputs=["aa", "b", "aa", "aa"]))
    assert (response.cached_inputs, response.usage.input_tokens) == (0, 3)
    response = await desk.ask(EmbedRequest(inputs=["b", "aa", "c", "b"]))
    assert (response.cached_inputs, response.usage.input_tokens) == (3, 1)
    assert list(desk.items.requests[-1][1].inputs) == ["c"]


async def test_a_hit_says_who_answered_and_what_it_cost() -> None:
    """Nothing was computed: no tokens, no time in an engine, and the router itself is named."""
    desk = Desk(EMBED)
    await desk.ask(EmbedRequest(inputs=["a", "b"]))
    assert desk.said["inglenook-served-by"] == "there:1"
    response = await desk.ask(EmbedRequest(inputs=["b", "a"]))
    assert response.model == "m"
    assert response.cached_inputs == 2
    assert response.usage.input_tokens == 0
    assert response.usage.HasField("input_tokens")
    assert not response.timings.HasField("inference_time")
    assert response.timings.HasField("total_time")
    assert desk.said["inglenook-served-by"] == "router:1"


async def test_many_items_let_other_work_go_on() -> None:
    """The event loop turns while a thousand items are looked up."""
    desk = Desk(EMBED)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    request = EmbedRequest(inputs=[str(number) for number in range(1024)])
    await desk.ask(request)
    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = turns
    await desk.ask(request)
    counting.cancel()
    assert turns - before >= 3
