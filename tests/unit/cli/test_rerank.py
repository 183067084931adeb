"""`inglenook rerank`: what it asks, and how it tells the answer."""

from __future__ import annotations

import pytest
from inglenook.common.v1 import Truncation
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult

from services.chassis.errors import InvalidRequest
from tests.unit.cli.canned import SERVED_BY, CannedRouter, cost


def backwards(request: RerankRequest) -> RerankResponse:
    """Answer with the last document first."""
    count = len(request.documents)
    results = [RerankResult(index=index, score=(index + 1) / (count + 1)) for index in reversed(range(count))]
    return RerankResponse(results=results[: request.top_n or count], model="ranker", **cost(12))


@pytest.fixture(autouse=True)
def _answers(router: CannedRouter) -> None:
    router.on(RerankRequest, backwards)


def rows(text: str) -> list[list[str]]:
    """Return the words of each line up to the first empty one."""
    return [line.split() for line in text.partition("\n\n")[0].splitlines()]


def test_documents_are_shown_best_first_with_rank_score_and_position(router: CannedRouter) -> None:
    """A person reads the order from the top, and finds each document where it was given."""
    done = router.run("rerank", "the query", "first", "second", "third")
    assert done.exit_code == 0, done.stderr
    assert rows(done.stdout) == [
        ["RANK", "SCORE", "DOCUMENT", "INDEX"],
        ["1", "0.7500", "third", "2"],
        ["2", "0.5000", "second", "1"],
        ["3", "0.2500", "first", "0"],
    ]


def test_the_last_line_says_what_the_answer_took_and_who_gave_it(router: CannedRouter) -> None:
    """Model, tokens, replica and the parts of the time stand in one line, as for every command."""
    last = router.run("rerank", "the query", "first").stdout.splitlines()[-1]
    assert last.startswith(f"ranker, 12 tokens, answered by {SERVED_BY} in ")
    assert last.endswith("(tokenize 0.0 ms, queue 0.0 ms, inference 3.0 ms)")


def test_every_option_travels(router: CannedRouter) -> None:
    """What the contract offers can be said on the command line."""
    options = ["--model", "ranker", "--top-n", "1", "--raw-scores", "--truncation", "left"]
    assert router.run("rerank", "the query", "first", "second", *options).exit_code == 0
    (request,) = router.requests
    assert request == RerankRequest(
        model="ranker",
        query="the query",
        documents=["first", "second"],
        top_n=1,
        raw_scores=True,
        truncation=Truncation.TRUNCATION_LEFT,
    )


def test_without_options_the_service_decides(router: CannedRouter) -> None:
    """No model and no `top_n` are invented; what is too long is refused."""
    assert router.run("rerank", "the query", "first").exit_code == 0
    (request,) = router.requests
    assert request == RerankRequest(
        query="the query", documents=["first"], truncation=Truncation.TRUNCATION_NONE
    )


def test_documents_are_the_lines_of_standard_input_when_none_is_an_argument(router: CannedRouter) -> None:
    """It can stand at the end of a pipe, whatever ends its lines; empty ones are no documents."""
    assert router.run("rerank", "the query", given="first\r\n\n  \nsecond line\n").exit_code == 0
    (request,) = router.requests
    assert list(request.documents) == ["first", "second line"]


def test_input_that_is_no_text_is_told_before_anything_is_sent(router: CannedRouter) -> None:
    """A file in another encoding is a mistake of the caller's, not a traceback."""
    done = router.run("rerank", "the query", given=b"caf\xe9\n")
    assert done.exit_code == 2
    assert done.stderr.strip() == "error standard input is not UTF-8 text"
    assert router.requests == []


def test_json_is_the_response_of_the_contract_and_who_gave_it(router: CannedRouter) -> None:
    """A program finds the names that the contract has, with the numbers whole."""
    document = router.document("rerank", "the query", "first", "second", "--top-n", "1")
    assert document["results"] == [{"index": 1, "score": pytest.approx(2 / 3)}]
    assert (document["model"], document["servedBy"]) == ("ranker", SERVED_BY)
    assert document["usage"] == {"inputTokens": "12"}
    assert document["timings"] == {"inferenceTime": "0.003s"}
    assert document["cachedInputs"] == 0


def test_a_long_document_takes_one_short_line(router: CannedRouter) -> None:
    """The table stays readable whatever the documents are."""
    done = router.run("rerank", "the query", "line one\nline two " + "x" * 500)
    (_, row) = done.stdout.partition("\n\n")[0].splitlines()
    assert "line one line two" in row
    assert "…" in row
    assert len(row) < 130


def test_square_brackets_in_a_document_are_shown_as_they_are(router: CannedRouter) -> None:
    """What looks like the markup of the tool's own tables is the caller's text all the same."""
    done = router.run("rerank", "the query", "[red]alert[/red] and [/] :fire:")
    assert done.exit_code == 0, done.stderr
    assert "[red]alert[/red] and [/] :fire:" in done.stdout


def test_an_empty_document_is_told_with_its_path(router: CannedRouter) -> None:
    """Which of many documents is wrong stands in the message and, for programs, beside it."""

    def refuse(request: RerankRequest) -> RerankResponse:
        raise InvalidRequest([("documents[1]", "must not be empty"), ("top_n", "is more than 2 documents")])

    router.on(RerankRequest, refuse)
    command = ("rerank", "the query", "first", " ", "--top-n", "3")
    done = router.run(*command)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "INVALID_REQUEST: documents[1] must not be empty; top_n is more than 2 documents" in done.stderr
    assert router.error(*command) == {
        "message": "INVALID_REQUEST: documents[1] must not be empty; top_n is more than 2 documents",
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_REQUEST",
        "fields": [
            {"field": "documents[1]", "problem": "must not be empty"},
            {"field": "top_n", "problem": "is more than 2 documents"},
        ],
    }


def test_a_number_of_results_below_one_is_a_usage_error(router: CannedRouter) -> None:
    """What can never be right is refused before it is sent."""
    assert router.run("rerank", "the query", "first", "--top-n", "0").exit_code == 2
    assert router.requests == []
