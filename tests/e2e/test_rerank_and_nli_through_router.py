"""Documents and pairs through the router into the engines, also while an engine is killed or stopped."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import numpy as np
import pytest
from inglenook.nli.v1 import ClassifyRequest, ClassifyResponse, InferRequest, InferResponse, Pair
from inglenook.rerank.v1 import RerankRequest, RerankResponse

from tests.support.configuration import write_cluster
from tests.support.load import UNCACHED, Ask, calling
from tests.support.stage import Stage, port, staged_from
from tests.support.stubs import LIMIT_SECONDS

QUERY: Final = "the cat sits"
DOCUMENTS: Final = ("a dog runs", "the cat sits on the mat", "green", "a slow tree", "the cat sits")
RERANK: Final = RerankRequest(model="cross", query=QUERY, documents=DOCUMENTS, return_documents=True)
INFER: Final = InferRequest(pairs=[Pair(premise=QUERY, hypothesis=one) for one in DOCUMENTS])
CLASSIFY: Final = ClassifyRequest(inputs=DOCUMENTS, labels=["cat", "dog", "tree"])
CLOSE: Final = 1e-5
"""How far the same answer may lie from itself, by what it shared a batch with."""


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, all_models: str) -> AsyncIterator[Stage]:
    """Run a router, two replicas of rerank and one of nli; who ends one of them starts it again."""
    folder, services = tmp_path_factory.mktemp("stage"), {"rerank": 2, "nli": 1}
    async with staged_from(write_cluster(folder, all_models, services)) as stage:
        yield stage


def ask_rerank(stage: Any, seconds: float) -> Any:
    """Begin to rerank."""
    return stage.rerank.Rerank(RERANK, timeout=seconds, metadata=UNCACHED)


def ask_classify(stage: Any, seconds: float) -> Any:
    """Begin to classify."""
    return stage.nli.Classify(CLASSIFY, timeout=seconds, metadata=UNCACHED)


def ranking(response: RerankResponse) -> list[float]:
    """Return the scores in the order of the documents."""
    return [one.score for one in sorted(response.results, key=lambda one: one.index)]


def labelling(response: ClassifyResponse) -> list[float]:
    """Return the scores of all texts, each in the order of the labels."""
    found = [{one.label: one.score for one in result.scores} for result in response.results]
    return [one[label] for one in found for label in CLASSIFY.labels]


def inferences(response: InferResponse) -> list[list[float]]:
    """Return the probabilities of all pairs."""
    return [[one.entailment, one.neutral, one.contradiction] for one in response.results]


async def right(stage: Stage, ask: Ask, read: Callable[[Any], list[float]]) -> Callable[[Any], None]:
    """Return what checks that an answer is the one that is given in peace."""
    expected = read(await ask(stage, LIMIT_SECONDS))

    def check(response: Any) -> None:
        np.testing.assert_allclose(read(response), expected, rtol=0, atol=CLOSE)

    return check


async def test_documents_come_back_by_relevance_from_either_kind_of_reranker(whole_cluster: Stage) -> None:
    """Best first, each with its text and its place in the request; a text is most similar to itself."""
    for model in ("cross", "bi"):
        request = RerankRequest(model=model, query=QUERY, documents=DOCUMENTS, return_documents=True)
        call = whole_cluster.rerank.Rerank(request, timeout=LIMIT_SECONDS)
        response = await call
        found = [one.score for one in response.results]
        assert found == sorted(found, reverse=True)
        assert sorted(one.index for one in response.results) == [0, 1, 2, 3, 4]
        assert all(one.document == DOCUMENTS[one.index] for one in response.results)
        assert response.model == model
        assert str(dict(await call.trailing_metadata())["inglenook-served-by"]).startswith("rerank@")
        assert model == "cross" or response.results[0].document == QUERY


async def test_pairs_and_labels_come_back_with_probabilities(whole_cluster: Stage) -> None:
    """One result per pair and per text, in their order; three classes, and labels that exclude each other."""
    call = whole_cluster.nli.Infer(INFER, timeout=LIMIT_SECONDS)
    judged = inferences(await call)
    assert len(judged) == len(DOCUMENTS)
    np.testing.assert_allclose(np.sum(judged, axis=1), 1, rtol=0, atol=CLOSE)
    assert str(dict(await call.trailing_metadata())["inglenook-served-by"]).startswith("nli@")

    classified = await whole_cluster.nli.Classify(CLASSIFY, timeout=LIMIT_SECONDS)
    assert len(classified.results) == len(DOCUMENTS)
    for result in classified.results:
        found = [one.score for one in result.scores]
        assert found == sorted(found, reverse=True)
        assert sum(found) == pytest.approx(1, abs=CLOSE)


async def test_a_killed_reranker_costs_no_call_that_has_time_left(stage: Stage) -> None:
    """SIGKILL of one of two replicas under load: every call is answered, and rightly; so are those of nli."""
    check_rerank = await right(stage, ask_rerank, ranking)
    check_labels = await right(stage, ask_classify, labelling)
    async with (
        calling(stage.address, ask=ask_rerank, check=check_rerank) as reranks,
        calling(stage.address, callers=2, ask=ask_classify, check=check_labels) as others,
    ):
        await reranks.until_answered(50)
        killed = stage.replicas_of("rerank")[0]
        await stage.end(killed, signal.SIGKILL)
        await reranks.until_answered(100)
        await others.until_answered(1)
        stage.restart(killed)
        await reranks.until_answered(1, by=port(killed.listen))
    assert not reranks.failures, reranks.told()
    assert not others.failures, others.told()


async def test_a_reranker_that_stops_loses_no_call(stage: Stage) -> None:
    """SIGTERM of one of two replicas under load: it finishes what it has, and ends with exit code 0."""
    check = await right(stage, ask_rerank, ranking)
    async with calling(stage.address, ask=ask_rerank, check=check) as history:
        await history.until_answered(50)
        leaving = stage.replicas_of("rerank")[0]
        assert await stage.end(leaving, signal.SIGTERM) == 0
        stage.restart(leaving)
        await history.until_answered(1, by=port(leaving.listen))
    assert not history.failures, history.told()
