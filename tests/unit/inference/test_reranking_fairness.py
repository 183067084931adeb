"""How callers with many documents and callers with few get along."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.inference.batching import Policy
from services.inference.models.reranking import RerankOptions
from tests.support.engine_parts import LIMIT_SECONDS
from tests.support.polling import until
from tests.support.reranking import PairRunner, cross_encoder, order

RAW = RerankOptions(raw_scores=True)
SMALL_CALLERS = 12
POLICY = Policy(max_batch_tokens=128, max_batch_size=16, max_queue_size=4096)


def number(query: str, document: str) -> list[float]:
    """Answer with the number in a document."""
    del query
    return [float(document.rsplit(maxsplit=1)[-1])]


def sharing(runner: PairRunner) -> int:
    """Return how many batches hold documents of several queries."""
    return sum(len({query for query, _ in batch}) > 1 for batch in runner.batches)


async def test_caller_with_a_thousand_documents_starves_nobody(tmp_path: Path) -> None:
    """Those who came after it and want less share its batches and are done before it is."""
    documents = [f"cat {place}" for place in range(100, 1_100)]
    finished: list[str] = []
    async with cross_encoder(tmp_path, number, policy=POLICY) as (model, runner):

        async def call(name: str, query: str, texts: list[str]) -> list[int]:
            ranking = await model.rerank(query, texts, RAW)
            finished.append(name)
            return order(ranking)

        async def everybody_waits() -> bool:
            held = len(runner.batches[0])
            return model.queue_size == len(documents) - held + SMALL_CALLERS * 3

        runner.gate.clear()
        large = asyncio.create_task(call("large", "the", documents))
        assert await asyncio.to_thread(runner.begun.wait, LIMIT_SECONDS)
        small = [
            asyncio.create_task(call("small", "dog", [f"mat {caller}{place}" for place in range(1, 4)]))
            for caller in range(10, 10 + SMALL_CALLERS)
        ]
        await until(everybody_waits)
        runner.gate.set()
        answers = await asyncio.gather(large, *small)

    assert finished == ["small"] * SMALL_CALLERS + ["large"]
    assert answers == [list(range(1_000))[::-1], *[[2, 1, 0]] * SMALL_CALLERS]
    assert sharing(runner) > 0


async def test_as_many_documents_as_a_call_may_hold_are_not_refused(tmp_path: Path) -> None:
    """Four callers with a thousand documents each are split up inside, and each gets its own answer."""
    async with cross_encoder(tmp_path, number, policy=POLICY) as (model, runner):
        calls = [
            model.rerank(query, [f"cat {caller * 1_000 + place}" for place in range(1_000)], RAW)
            for caller, query in enumerate(["the", "dog", "tree", "mat"], start=1)
        ]
        rankings = await asyncio.gather(*calls)

    assert [order(ranking) for ranking in rankings] == [list(range(1_000))[::-1]] * 4
    assert max(map(len, runner.batches)) <= POLICY.max_batch_size


async def test_caller_who_leaves_takes_its_documents_along(tmp_path: Path) -> None:
    """What nobody waits for is not computed."""
    documents = [f"cat {place}" for place in range(1_000)]
    async with cross_encoder(tmp_path, number, policy=POLICY) as (model, runner):
        runner.gate.clear()
        leaving = asyncio.create_task(model.rerank("the", documents, RAW))
        assert await asyncio.to_thread(runner.begun.wait, LIMIT_SECONDS)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        runner.gate.set()
        ranking = await model.rerank("dog", ["mat 1", "mat 2"], RAW)

    assert order(ranking) == [1, 0]
    assert len(runner.batches) == 2
