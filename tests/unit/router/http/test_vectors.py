"""Embeddings, rankings and inferences: JSON to messages of the contract, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from inglenook.common.v1 import Truncation, Usage
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse
from inglenook.nli.v1 import InferRequest, InferResponse, InferResult, RawScores
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult

from services.chassis.errors import InvalidRequest
from services.router.http.body import INLINE_BYTES
from tests.support.asgi import Calls, Told, ask

EMBEDDED = EmbedResponse(embeddings=[Embedding(packed=b"\0\0\x80?")], model="m", cached_inputs=1)
RANKED = RerankResponse(
    results=[RerankResult(index=1, score=0.25), RerankResult(index=0, score=0.125, document="a")],
    model="m",
    usage=Usage(input_tokens=9),
)
JUDGED = InferResponse(
    results=[InferResult(entailment=0.5, contradiction=0, raw_scores=RawScores(entailment=0, opposite=1.5))]
)


async def post(calls: Calls, path: str, **body: Any) -> Told:
    """Send JSON."""
    return await ask(calls, path, json.dumps(body).encode())


async def embed(**body: Any) -> EmbedRequest:
    """Return what is asked of an embed service."""
    calls = Calls(EMBEDDED.SerializeToString())
    told = await post(calls, "/v1/embeddings", **body)
    assert told.status == 200, told.error
    return EmbedRequest.FromString(calls.requests[0][1])


@pytest.mark.parametrize(
    ("given", "expected"), [([1, 2, 3], [[1, 2, 3]]), ([[1], [0, 2**31 - 1]], [[1], [0, 2**31 - 1]])]
)
async def test_token_ids_are_embedded_as_they_are(given: Any, expected: list[list[int]]) -> None:
    """One list is one text; several are several."""
    request = await embed(input=given)
    assert [list(one.ids) for one in request.token_inputs] == expected
    assert not request.inputs


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [[1], "a"]}, "input[1]"),
        ({"input": ["a", [1]]}, "input[1]"),
        ({"input": [1, "a"]}, "input[0]"),
        ({"input": [[1, 2.5]]}, "input[0]"),
        ({"input": [True]}, "input[0]"),
        ({"input": [[1], [-1]]}, "input[1]"),
        ({"input": [[1], [2**31]]}, "input[1]"),
        ({"input": [1, [2]]}, "input[0]"),
        ({"input": {"a": 1}}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "encoding_format": 1}, "encoding_format"),
        ({"input": "a", "dimensions": "8"}, "dimensions"),
    ],
)
async def test_what_is_no_input_is_refused_by_its_place(body: Any, param: str) -> None:
    """Texts and tokens cannot be mixed."""
    calls = Calls()
    told = await post(calls, "/v1/embeddings", **body)
    assert (told.status, told.error["param"], calls.requests) == (400, param, [])


async def test_an_engines_complaint_of_a_token_names_the_place_in_the_json() -> None:
    """The contract calls it otherwise."""
    calls = Calls(error=InvalidRequest([("token_inputs[3].ids[0]", "is not in the vocabulary")]))
    told = await post(calls, "/v1/embeddings", input=[[1]] * 4)
    assert told.error["param"] == "input[3][0]"


async def test_embeddings_come_as_asked_for_and_tell_what_was_kept() -> None:
    """Numbers by default; the user is nobody's business here."""
    calls = Calls(EMBEDDED.SerializeToString())
    numbers = await post(calls, "/v1/embeddings", input="a", user="somebody", dimensions=1)
    packed = await post(calls, "/v1/embeddings", input="a", encoding_format="base64")
    assert numbers.body["data"] == [{"object": "embedding", "index": 0, "embedding": [1.0]}]
    assert packed.body["data"][0]["embedding"] == "AACAPw=="
    assert numbers.headers["x-inglenook-cached-inputs"] == "1"


async def test_a_number_that_json_does_not_have_is_a_bug_and_not_an_answer() -> None:
    """Clients could not read it."""
    bad = EmbedResponse(embeddings=[Embedding(packed=b"\0\0\xc0\x7f")])
    assert (await post(Calls(bad.SerializeToString()), "/v1/embeddings", input="a")).status == 500


async def test_a_large_body_says_the_same_as_a_small_one() -> None:
    """It is only read elsewhere."""
    text = "a quiet corner " * (INLINE_BYTES // 10)
    assert list((await embed(input=text)).inputs) == [text]


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_ranking_is_told_as_cohere_and_jina_do(version: str) -> None:
    """With an id, what was read, and documents where they were asked for."""
    calls = Calls(RANKED.SerializeToString())
    asked: Any = {"query": "q", "documents": ["a", {"text": "b", "title": "c"}], "max_tokens_per_doc": 512}
    told = (await post(calls, f"/v{version}/rerank", **asked, top_n=9, return_documents=True)).body
    request = RerankRequest.FromString(calls.requests[0][1])
    assert (list(request.documents), request.top_n, request.return_documents) == (["a", "b"], 2, True)
    assert request.truncation == Truncation.TRUNCATION_RIGHT
    assert told["results"] == [
        {"index": 1, "relevance_score": 0.25},
        {"index": 0, "relevance_score": 0.125, "document": {"text": "a"}},
    ]
    assert told["meta"] == {"api_version": {"version": version}, "tokens": {"input_tokens": 9}}
    assert told["usage"]["total_tokens"] == 9
    assert told["id"]


async def test_only_texts_of_documents_are_ranked() -> None:
    """Cohere's first version could be asked to read other members."""
    asked: Any = {"query": "q", "documents": [{"text": "a"}]}
    calls = Calls(RANKED.SerializeToString())
    assert (await post(calls, "/v1/rerank", **asked, rank_fields=["text"])).status == 200
    told = await post(calls, "/v1/rerank", **asked, rank_fields=["title"])
    assert (told.status, told.error["param"]) == (400, "rank_fields")


async def test_logits_are_told_where_they_are_asked_for() -> None:
    """A 0 is one of them, and one of the probabilities that are known."""
    calls = Calls(JUDGED.SerializeToString())
    told = await post(calls, "/v1/nli", pairs=[{"premise": "a", "hypothesis": "b"}], raw_scores=True)
    assert InferRequest.FromString(calls.requests[0][1]).raw_scores
    (result,) = told.body["results"]
    assert result == {
        "entailment": 0.5,
        "contradiction": 0.0,
        "raw_scores": {"entailment": 0.0, "opposite": 1.5},
    }
