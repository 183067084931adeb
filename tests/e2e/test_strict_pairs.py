"""Requests about pairs of texts that cannot be answered, to the router of a whole cluster.

Each has its code, reason and field path, and nothing that is answered holds a word of what was sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import pytest
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest
from inglenook.nli.v1 import ClassifyRequest, ClassifyResponse, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from services.chassis.testing import FailedCall, read_failure
from tests.support.stage import Stage
from tests.support.stubs import LIMIT_SECONDS, Stubs

SECRET: Final = "zanzibar"
TEXT: Final = f"the {SECRET} cat"
LONG: Final = f"{SECRET} " * 70
"""More tokens than the models take."""

INVALID: Final = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
TOO_LONG: Final = (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_TOO_LONG")
WRONG: Final = (grpc.StatusCode.INVALID_ARGUMENT, "WRONG_CAPABILITY")
UNKNOWN: Final = (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
RIGHT: Final = Truncation.TRUNCATION_RIGHT

AnyRequest = EmbedRequest | RerankRequest | InferRequest | ClassifyRequest


@dataclass(frozen=True)
class Bad:
    """A request that is refused.

    Attributes:
        request: The request.
        fields: Path of every field that is named.
        status: Code and reason.
        metadata: What programs are told.
        told: What the message has to contain.
    """

    request: AnyRequest
    fields: Sequence[str] = ()
    status: tuple[grpc.StatusCode, str] = INVALID
    metadata: dict[str, str] = field(default_factory=dict)
    told: str = ""


def rerank(**changes: Any) -> RerankRequest:
    """Return a request that is right but for these fields."""
    return RerankRequest(**{"model": "cross", "query": TEXT, "documents": [TEXT, "a dog"], **changes})


def infer(*pairs: tuple[str, str], model: str = "judge", **more: Any) -> InferRequest:
    """Return a request about pairs of premise and hypothesis."""
    made = [Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in pairs]
    return InferRequest(model=model, pairs=made, **more)


def classify(**changes: Any) -> ClassifyRequest:
    """Return a request that is right but for these fields."""
    return ClassifyRequest(**{"model": "judge", "inputs": [TEXT], "labels": [SECRET, "dog"], **changes})


def too_long(tokens: int) -> dict[str, str]:
    """Return what programs are told of a text that is too long."""
    return {"maxInputTokens": "64", "inputTokens": str(tokens)}


TOKENS: Final = 70 * len(SECRET)
"""Of `LONG`: the tokenizer knows letters and has no such word."""
OF_TEXT: Final = 2 + len(SECRET)

BAD: Final = {
    "an empty query": Bad(rerank(query=""), ["query"], told="must not be empty"),
    "a query of white space": Bad(rerank(query=" \t\n"), ["query"], told="must not be empty"),
    "no documents": Bad(rerank(documents=[]), ["documents"], told="at least 1"),
    "an empty document": Bad(
        rerank(documents=[TEXT] * 7 + ["", TEXT]), ["documents[7]"], told="documents[7] must not be empty"
    ),
    "top_n of 0": Bad(rerank(top_n=0), ["top_n"], told="at least 1"),
    "top_n below 0": Bad(rerank(top_n=-1), ["top_n"], told="at least 1"),
    "top_n beyond the count": Bad(rerank(top_n=3), ["top_n"], told="number of documents, 2"),
    "an unknown way to truncate": Bad(rerank(truncation=99), ["truncation"]),
    "all of that, for a bi-encoder": Bad(
        rerank(model="bi", query="", documents=[TEXT, " "], top_n=3), ["query", "documents[1]", "top_n"]
    ),
    "a long document": Bad(
        rerank(documents=["a", LONG]), ["documents[1]"], TOO_LONG, too_long(TOKENS + OF_TEXT + 3)
    ),
    "a long query": Bad(
        rerank(query=LONG, documents=["a"], truncation=RIGHT), ["query"], TOO_LONG, too_long(TOKENS + 1 + 3)
    ),
    "a long query for a bi-encoder": Bad(
        rerank(model="bi", query=LONG, truncation=RIGHT), ["query"], TOO_LONG, too_long(TOKENS + 2)
    ),
    "no pairs": Bad(infer(), ["pairs"], told="at least 1"),
    "an empty premise": Bad(infer((TEXT, TEXT), ("", TEXT)), ["pairs[1].premise"], told="must not be empty"),
    "an empty hypothesis": Bad(infer((TEXT, TEXT), (TEXT, TEXT), (TEXT, " ")), ["pairs[2].hypothesis"]),
    "two empty texts": Bad(infer(("", "")), ["pairs[0].premise", "pairs[0].hypothesis"]),
    "a long premise": Bad(
        infer(("a", "a"), (LONG, "a")), ["pairs[1].premise"], TOO_LONG, too_long(TOKENS + 1 + 3)
    ),
    "a long hypothesis": Bad(
        infer(("a", LONG), truncation=RIGHT), ["pairs[0].hypothesis"], TOO_LONG, too_long(TOKENS + 1 + 3)
    ),
    "no inputs": Bad(classify(inputs=[]), ["inputs"], told="at least 1"),
    "an empty input": Bad(classify(inputs=[TEXT, "\n"]), ["inputs[1]"], told="must not be empty"),
    "no labels": Bad(classify(labels=[]), ["labels"], told="at least 1"),
    "an empty label": Bad(classify(labels=[SECRET, ""]), ["labels[1]"], told="must not be empty"),
    "a label twice": Bad(
        classify(labels=["a", SECRET, "b", SECRET]), ["labels[3]"], told="is the same as labels[1]"
    ),
    "no place for the label": Bad(
        classify(hypothesis_template=f"about {SECRET}"), ["hypothesis_template"], told="must contain {} once"
    ),
    "two places for the label": Bad(
        classify(hypothesis_template=f"{SECRET} {{}} {{}}"), ["hypothesis_template"], told="2 times"
    ),
    "a long input": Bad(
        classify(inputs=["a", LONG], hypothesis_template="{}"),
        ["inputs[1]"],
        TOO_LONG,
        too_long(TOKENS + len(SECRET) + 3),
    ),
    "a long label": Bad(
        classify(inputs=["a"], labels=["a", LONG], hypothesis_template="{}", truncation=RIGHT),
        ["labels[1]"],
        TOO_LONG,
        too_long(TOKENS + 1 + 3),
    ),
    "an unknown reranker": Bad(
        rerank(model="cros"), status=UNKNOWN, metadata={"models": "cross,bi"}, told="cross, bi"
    ),
    "an unknown judge": Bad(
        infer((TEXT, TEXT), model="juge"), status=UNKNOWN, metadata={"models": "judge"}, told="judge"
    ),
    "an unknown classifier": Bad(classify(model="juge"), status=UNKNOWN, metadata={"models": "judge"}),
    "an unknown embedder": Bad(
        EmbedRequest(model="smal", inputs=[TEXT]), status=UNKNOWN, metadata={"models": "small,other"}
    ),
    "a judge that is to rerank": Bad(
        rerank(model="judge"), ["model"], WRONG, {"model": "judge", "capability": "nli"}, "for nli"
    ),
    "an embedder that is to infer": Bad(
        infer((TEXT, TEXT), model="small"), ["model"], WRONG, {"model": "small", "capability": "embed"}
    ),
    "a reranker that is to classify": Bad(
        classify(model="cross"), ["model"], WRONG, {"model": "cross", "capability": "rerank"}, "for rerank"
    ),
    "a judge that is to embed": Bad(
        EmbedRequest(model="judge", inputs=[TEXT]), ["model"], WRONG, {"model": "judge", "capability": "nli"}
    ),
    "no reranker named of two": Bad(rerank(model=""), ["model"], told="cross, bi"),
    "no embedder named of two": Bad(EmbedRequest(inputs=[TEXT]), ["model"], told="small, other"),
}


async def refusal(stubs: Stubs, request: AnyRequest) -> tuple[FailedCall, bytes]:
    """Return how a call fails, and every byte that comes back."""
    calls: dict[type[AnyRequest], Any] = {
        EmbedRequest: stubs.embed.Embed,
        RerankRequest: stubs.rerank.Rerank,
        InferRequest: stubs.nli.Infer,
        ClassifyRequest: stubs.nli.Classify,
    }
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await calls[type(request)](request, timeout=LIMIT_SECONDS)
    error = raised.value
    values = [error.details() or "", *(value for _, value in error.trailing_metadata() or ())]
    return read_failure(error), b"|".join(
        one if isinstance(one, bytes) else str(one).encode() for one in values
    )


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_bad_request_is_refused_with_reason_and_paths_and_without_a_word_of_it(
    whole_cluster: Stage, bad: Bad
) -> None:
    """Code, reason, paths and numbers are exact, the message says what is wrong, and no text comes back."""
    failed, everything = await refusal(whole_cluster, bad.request)
    assert (failed.code, failed.reason, failed.domain) == (*bad.status, "inglenook")
    assert [path for path, _ in failed.violations] == list(bad.fields)
    assert dict(failed.metadata) == bad.metadata
    assert bad.told in failed.message
    assert all(path in failed.message for path in bad.fields if path != "model")
    assert SECRET.encode() not in everything
    assert failed.retry_after_seconds is None, "waiting does not help"


def scores(response: ClassifyResponse) -> dict[str, float]:
    """Return the scores of the only text, by label."""
    (result,) = response.results
    return {one.label: one.score for one in result.scores}


async def test_a_single_label_is_judged_on_its_own(whole_cluster: Stage) -> None:
    """Its score is entailment against contradiction, as with `multi_label`, and never 1 by construction."""
    nli, hypothesis = whole_cluster.nli, "the {} sits"
    pair = infer((TEXT, "the dog sits"))
    (judged,) = (await nli.Infer(pair, timeout=LIMIT_SECONDS)).results
    expected = judged.entailment / (judged.entailment + judged.contradiction)
    for multi_label in (False, True):
        request = classify(labels=["dog"], hypothesis_template=hypothesis, multi_label=multi_label)
        found = scores(await nli.Classify(request, timeout=LIMIT_SECONDS))
        assert math.isclose(found["dog"], expected, abs_tol=1e-5)
    assert 0.001 < expected < 0.999, "these weights would not tell the difference"


async def test_an_empty_name_means_the_only_model_there_is(whole_cluster: Stage) -> None:
    """Where there is one judge, nobody has to know what it is called; the answer says it."""
    judged = await whole_cluster.nli.Infer(infer((TEXT, TEXT), model=""), timeout=LIMIT_SECONDS)
    assert judged.model == "judge"
    sorted_ = await whole_cluster.nli.Classify(classify(model=""), timeout=LIMIT_SECONDS)
    assert sorted_.model == "judge"
    assert set(scores(sorted_)) == {SECRET, "dog"}


async def test_what_would_be_too_long_is_taken_when_truncation_is_asked_for(whole_cluster: Stage) -> None:
    """The document, the premise and the text are cut; the query, the hypothesis and the label are not."""
    ranked = await whole_cluster.rerank.Rerank(
        rerank(query="a", documents=[LONG], truncation=RIGHT), timeout=LIMIT_SECONDS
    )
    judged = await whole_cluster.nli.Infer(infer((LONG, "a"), truncation=RIGHT), timeout=LIMIT_SECONDS)
    labelled = await whole_cluster.nli.Classify(
        classify(inputs=[LONG], labels=["a"], truncation=RIGHT), timeout=LIMIT_SECONDS
    )
    assert {one.usage.input_tokens for one in (ranked, judged, labelled)} == {64}
