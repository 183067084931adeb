"""`inglenook nli` and `inglenook classify`: what they ask, and how they tell the answer."""

from __future__ import annotations

import pytest
from inglenook.common.v1 import Truncation
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
    Pair,
)

from services.chassis.errors import InvalidRequest
from services.cli.commands.nli import judgements
from tests.unit.cli.canned import SERVED_BY, CannedRouter, cost

THREE = InferResult(entailment=0.125, neutral=0.25, contradiction=0.625)
TWO = InferResult(entailment=0.75, contradiction=0.25)
PAIR = Pair(premise="All is quiet.", hypothesis="There is a noise.")


@pytest.fixture(autouse=True)
def _answers(router: CannedRouter) -> None:
    def infer(request: InferRequest) -> InferResponse:
        return InferResponse(results=[THREE for _ in request.pairs], model="judge", **cost(9))

    def classify(request: ClassifyRequest) -> ClassifyResponse:
        scores = [
            LabelScore(label=label, score=0.5 / (rank + 1)) for rank, label in enumerate(request.labels)
        ]
        results = [ClassifyResult(scores=scores) for _ in request.inputs]
        return ClassifyResponse(results=results, model="judge", **cost(20))

    router.on(InferRequest, infer)
    router.on(ClassifyRequest, classify)


def test_a_pair_of_arguments_is_judged(router: CannedRouter) -> None:
    """Both sentences and all three probabilities stand in one row."""
    done = router.run("nli", PAIR.premise, PAIR.hypothesis, "--model", "judge", "--truncation", "right")
    assert done.exit_code == 0, done.stderr
    head, row = done.stdout.splitlines()[:2]
    assert head.split() == ["PREMISE", "HYPOTHESIS", "ENTAILMENT", "NEUTRAL", "CONTRADICTION"]
    assert row.split("  ")[0] == PAIR.premise
    assert row.split()[-3:] == ["0.125", "0.250", "0.625"]
    assert router.requests == [
        InferRequest(model="judge", pairs=[PAIR], truncation=Truncation.TRUNCATION_RIGHT)
    ]


def test_the_likeliest_class_is_highlighted() -> None:
    """The eye finds the verdict of each pair without comparing numbers."""
    made = judgements(InferRequest(pairs=[PAIR, PAIR]), InferResponse(results=[THREE, TWO]))
    cells = [list(column.cells) for column in made.columns[2:]]
    assert cells == [
        ["0.125", "[bold green]0.750[/]"],
        ["0.250", "-"],
        ["[bold green]0.625[/]", "0.250"],
    ]


def test_a_class_that_the_model_does_not_have_is_a_dash(router: CannedRouter) -> None:
    """Nobody takes what a two-label model cannot tell apart for a probability of zero."""

    def two(request: InferRequest) -> InferResponse:
        return InferResponse(results=[TWO for _ in request.pairs], model="judge", **cost(9))

    router.on(InferRequest, two)
    row = router.run("nli", "a", "b").stdout.splitlines()[1]
    assert row.split() == ["a", "b", "0.750", "-", "0.250"]
    assert "neutral" not in router.document("nli", "a", "b")["results"][0]


def test_pairs_are_the_lines_of_standard_input_with_a_tab_in_between(router: CannedRouter) -> None:
    """A file of pairs is judged in one call, in its order."""
    document = router.document("nli", given="one\tuno\n\ntwo words\tdue parole\n")
    assert len(document["results"]) == 2
    (request,) = router.requests
    assert [(pair.premise, pair.hypothesis) for pair in request.pairs] == [
        ("one", "uno"),
        ("two words", "due parole"),
    ]


@pytest.mark.parametrize("line", ["no tab", "one\ttab\ttoo many"])
def test_a_line_that_is_no_pair_is_told_by_its_number(router: CannedRouter, line: str) -> None:
    """The caller finds the line without the tool repeating what is in it."""
    error = router.error("nli", given=f"a\tb\n\n{line}\n", exit_code=2)
    assert error == {"message": "line 3 is not a premise and a hypothesis with one tab between them"}
    assert router.requests == []


def test_a_premise_alone_is_a_usage_error(router: CannedRouter) -> None:
    """It is not mistaken for a wish to read pairs from standard input."""
    error = router.error("nli", "a premise", given="a\tb\n", exit_code=2)
    assert error == {"message": "the premise has no hypothesis: give both as arguments"}


def test_json_of_nli_is_the_response_of_the_contract_and_who_gave_it(router: CannedRouter) -> None:
    """A program finds the names that the contract has."""
    document = router.document("nli", "a", "b")
    assert document["results"] == [{"entailment": 0.125, "neutral": 0.25, "contradiction": 0.625}]
    assert (document["model"], document["servedBy"]) == ("judge", SERVED_BY)


def test_an_empty_side_of_a_pair_is_told_with_its_path(router: CannedRouter) -> None:
    """The path leads to the pair and to the side of it."""

    def refuse(request: InferRequest) -> InferResponse:
        raise InvalidRequest([("pairs[0].hypothesis", "must not be empty")])

    router.on(InferRequest, refuse)
    assert "pairs[0].hypothesis must not be empty" in router.run("nli", "a", " ").stderr
    (field,) = router.error("nli", "a", " ")["fields"]
    assert field == {"field": "pairs[0].hypothesis", "problem": "must not be empty"}


def test_labels_are_shown_in_the_order_of_their_scores(router: CannedRouter) -> None:
    """The best label stands beside the text, the others below it."""
    done = router.run("classify", "it broke", "well done", "--label", "complaint", "--label", "praise")
    assert done.exit_code == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[:5]] == [
        ["TEXT", "LABEL", "SCORE"],
        ["it", "broke", "complaint", "0.500"],
        ["praise", "0.250"],
        ["well", "done", "complaint", "0.500"],
        ["praise", "0.250"],
    ]


def test_every_option_of_classify_travels(router: CannedRouter) -> None:
    """What the contract offers can be said on the command line."""
    options = ["--template", "It is {}.", "--multi-label", "--model", "judge", "--truncation", "right"]
    assert router.run("classify", "a text", "--label", "x", *options).exit_code == 0
    assert router.requests == [
        ClassifyRequest(
            model="judge",
            inputs=["a text"],
            labels=["x"],
            hypothesis_template="It is {}.",
            multi_label=True,
            truncation=Truncation.TRUNCATION_RIGHT,
        )
    ]


def test_texts_to_classify_are_the_lines_of_standard_input(router: CannedRouter) -> None:
    """It can stand at the end of a pipe."""
    document = router.document("classify", "--label", "x", given="one text\nanother\n")
    assert document["servedBy"] == SERVED_BY
    assert [[one["label"] for one in result["scores"]] for result in document["results"]] == [["x"], ["x"]]
    assert list(router.requests[0].inputs) == ["one text", "another"]


def test_classify_without_a_label_is_a_usage_error(router: CannedRouter) -> None:
    """The option that is missing is named, and nothing is sent."""
    done = router.run("classify", "a text")
    assert done.exit_code == 2
    assert "--label" in done.stderr
    assert router.requests == []
