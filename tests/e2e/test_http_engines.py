"""Embeddings, rankings and inferences over HTTP, from real engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from inglenook.embed.v1 import EmbedRequest, TokenInput
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from tests.support.configuration import free_addresses, write_cluster
from tests.support.http_side import HttpSide, asking
from tests.support.stage import Stage, staged_from

QUERY: Final = "the cat sits"
DOCUMENTS: Final = ["a dog runs", "the cat sits on the mat", "green"]
ANEW: Final = {"inglenook-cache": "off"}
"""A header: compute it, and say how many tokens that took."""
LABELS: Final = ["cat", "dog"]


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, all_models: str) -> AsyncIterator[Stage]:
    """Run a router and one replica of each engine."""
    (http,) = free_addresses(1)
    services = {"embed": 1, "rerank": 1, "nli": 1}
    file = write_cluster(tmp_path_factory.mktemp("http"), all_models, services, http=http)
    async with staged_from(file) as stage:
        yield stage


@pytest.fixture
async def http(stage: Stage) -> AsyncIterator[HttpSide]:
    """Connect to it."""
    address = stage.cluster.file.configuration.services.router.http_listen
    assert address is not None
    async with asking(address) as side:
        yield side


@pytest.mark.parametrize("encoding", ["float", None])
async def test_embeddings_are_those_of_grpc(stage: Stage, http: HttpSide, encoding: Any) -> None:
    """To the last bit, whether the client asks for numbers or, as it does by itself, for base64."""
    model = next(info.id for info in (await http.openai.models.list()).data if _capability(info) == "embed")
    more: Any = {"encoding_format": encoding} if encoding else {}
    told = await http.openai.embeddings.create(model=model, input=DOCUMENTS, extra_headers=ANEW, **more)
    expected = await stage.ask(EmbedRequest(model=model, inputs=DOCUMENTS))
    for found, other in zip(told.data, expected.embeddings, strict=True):
        assert found.embedding == pytest.approx(list(other.values), abs=1e-6)
    assert told.usage.prompt_tokens > 0
    short = await http.openai.embeddings.create(model=model, input="a dog", dimensions=8, **more)
    assert len(short.data[0].embedding) == 8


def _capability(info: Any) -> Any:
    return info.model_extra["inglenook"]["capability"]


async def test_token_ids_are_embedded(stage: Stage, http: HttpSide) -> None:
    """As over gRPC; an id that the model does not have is named by its place."""
    told = await http.openai.embeddings.create(model="small", input=[[5, 6], [7]])
    inputs = [TokenInput(ids=[5, 6]), TokenInput(ids=[7])]
    expected = await stage.ask(EmbedRequest(model="small", token_inputs=inputs))
    for found, other in zip(told.data, expected.embeddings, strict=True):
        assert found.embedding == pytest.approx(list(other.values), abs=1e-6)
    bad = await http.post("/v1/embeddings", {"model": "small", "input": [[5], [6, 10**9]]})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "input[1][1]")


@pytest.mark.parametrize("documents", [DOCUMENTS, [{"text": text} for text in DOCUMENTS]])
async def test_documents_are_ranked_in_the_language_of_cohere_and_jina(
    stage: Stage, http: HttpSide, documents: Any
) -> None:
    """Best first, with the text where it is asked for; more results than documents are all of them."""
    asked = {"model": "cross", "query": QUERY, "documents": documents, "top_n": 9, "return_documents": True}
    told = (await http.post("/v1/rerank", asked, ANEW)).json()
    expected = await stage.rerank.Rerank(RerankRequest(model="cross", query=QUERY, documents=DOCUMENTS))
    assert [one["index"] for one in told["results"]] == [one.index for one in expected.results]
    for found, other in zip(told["results"], expected.results, strict=True):
        assert found["relevance_score"] == pytest.approx(other.score, abs=1e-5)
        assert found["document"] == {"text": DOCUMENTS[found["index"]]}
    assert told["usage"]["total_tokens"] > 0


async def test_pairs_are_judged(stage: Stage, http: HttpSide) -> None:
    """With the probabilities that the model has."""
    pairs = [{"premise": QUERY, "hypothesis": one} for one in DOCUMENTS]
    told = (await http.post("/v1/nli", {"pairs": pairs})).json()
    expected = await stage.nli.Infer(InferRequest(pairs=[Pair(**pair) for pair in pairs]))
    for found, other in zip(told["results"], expected.results, strict=True):
        assert found["entailment"] == pytest.approx(other.entailment, abs=1e-5)
        assert found["contradiction"] == pytest.approx(other.contradiction, abs=1e-5)


async def test_texts_are_sorted_under_labels(stage: Stage, http: HttpSide) -> None:
    """Best label first."""
    told = (await http.post("/v1/classify", {"input": DOCUMENTS, "labels": LABELS})).json()
    expected = await stage.nli.Classify(ClassifyRequest(inputs=DOCUMENTS, labels=LABELS))
    for found, other in zip(told["results"], expected.results, strict=True):
        assert [one["label"] for one in found["scores"]] == [one.label for one in other.scores]
        assert found["scores"][0]["score"] == pytest.approx(other.scores[0].score, abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"query": "a", "documents": [1]}, "documents[0]"),
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
        ("/v1/nli", {"pairs": [{"premise": "a"}]}, "pairs[0].hypothesis"),
        ("/v1/classify", {"input": "a", "labels": ["x", ""]}, "labels[1]"),
        ("/v1/embeddings", {"model": "small", "input": ["a", " "]}, "input[1]"),
    ],
)
async def test_what_is_wrong_is_named(http: HttpSide, path: str, body: Any, param: str) -> None:
    """Whoever finds it: the router, or the engine."""
    told = await http.post(path, {"model": {"/v1/rerank": "cross"}.get(path, ""), **body})
    assert (told.status_code, told.json()["error"]["param"]) == (400, param)
