from __future__ import annotations

from itertools import permutations

import pytest

from services.artifacts import ArtifactProblem
from services.inference.models.labels import Roles, read_roles

ENTAILMENT = ("entailment", "ENTAILMENT", "Entailment", "entail", "ENTAILED", "entails", " entailment ")
CONTRADICTION = ("contradiction", "CONTRADICTION", "CONTRADICT", "contradictory", "contradicts")
REST = (
    "not_entailment",
    "NOT_ENTAILMENT",
    "not entailment",
    "non-entailment",
    "no_entailment",
    "notEntailment",
    "not-entailed",
    "nonentailment",
)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_classes_are_found_in_every_order(order: tuple[int, int, int]) -> None:
    """Published models use at least three of the six orders."""
    names = [("entailment", "neutral", "contradiction")[place] for place in order]

    roles = read_roles(names)

    assert roles == Roles(order.index(0), neutral=order.index(1), contradiction=order.index(2))
    assert roles.opposite == order.index(2)


@pytest.mark.parametrize("entailment", ENTAILMENT)
@pytest.mark.parametrize("contradiction", CONTRADICTION)
@pytest.mark.parametrize("neutral", ["neutral", "NEUTRAL", "Neutral"])
def test_classes_are_found_in_every_spelling(entailment: str, neutral: str, contradiction: str) -> None:
    """Case, spaces, and the form of the verb do not matter."""
    assert read_roles([contradiction, entailment, neutral]) == Roles(1, neutral=2, contradiction=0)


@pytest.mark.parametrize("rest", REST)
@pytest.mark.parametrize("entailment", ["entailment", "ENTAILED"])
def test_what_is_not_entailment_is_not_taken_for_entailment(entailment: str, rest: str) -> None:
    """The one name contains the other, and mixing them up would turn every answer around."""
    assert read_roles([entailment, rest]) == Roles(0, rest=1)
    assert read_roles([rest, entailment]) == Roles(1, rest=0)
    assert read_roles([rest, entailment]).opposite == 0


@pytest.mark.parametrize("contradiction", CONTRADICTION)
def test_two_classes_may_be_entailment_and_contradiction(contradiction: str) -> None:
    """What the premise says nothing about is then one or the other."""
    assert read_roles([contradiction, "entailment"]) == Roles(1, contradiction=0)
    assert read_roles([contradiction, "entailment"]).opposite == 0


def test_two_classes_may_be_entailment_and_neutral() -> None:
    """Then neutral is what entailment is weighed against."""
    assert read_roles(["entailment", "neutral"]) == Roles(0, neutral=1)
    assert read_roles(["entailment", "neutral"]).opposite == 1


@pytest.mark.parametrize(
    "names",
    [("LABEL_0", "LABEL_1", "LABEL_2"), ("LABEL_0", "LABEL_1"), ("0", "1", "2"), ("class 0", "class 1")],
)
def test_names_that_only_count_are_refused_with_what_to_set(names: tuple[str, ...]) -> None:
    """A guess would be wrong for some models, and nobody would notice."""
    with pytest.raises(ArtifactProblem, match="do not say what they mean; set `labels`") as raised:
        read_roles(names)
    assert ", ".join(names) in str(raised.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("entailment", "neutral", "maybe"), "maybe is not understood; set `labels`"),
        (("positive", "negative"), "positive, negative is not understood"),
        (("entailment", "contradiction", "LABEL_2"), "LABEL_2 is not understood"),
        (("entailment", "ENTAILED"), "two of them mean the same"),
        (("neutral", "entailment", "neutral"), "two of them mean the same"),
        (("neutral", "contradiction"), "entailment and one other class"),
        (("neutral", "not_entailment"), "entailment and one other class"),
        (("contradiction", "not_entailment", "neutral"), "entailment and one other class"),
        (("entailment", "not_entailment", "neutral"), "entailment and one other class"),
        (("entailment",), "entailment and one other class"),
        (("LABEL_0",), "entailment and one other class"),
        ((), "entailment and one other class"),
        (("entailment", "neutral", "contradiction", "other"), "entailment and one other class"),
    ],
)
def test_other_classes_are_refused_with_their_names(names: tuple[str, ...], told: str) -> None:
    """A reranker or a classifier of feelings would answer, and mean nothing by it."""
    with pytest.raises(ArtifactProblem) as raised:
        read_roles(names)
    assert f"the model's classes are {', '.join(names)}: " in str(raised.value)
    assert told in str(raised.value)


def test_a_problem_shows_as_much_of_strange_names_as_can_be_read() -> None:
    """A classifier of a thousand things is told by its first names, and none of them breaks a log line."""
    names = ["a" * 1000, "line\nbreak", *(f"thing {index}" for index in range(998))]

    with pytest.raises(ArtifactProblem) as raised:
        read_roles(names)

    told = str(raised.value)
    assert f"{'a' * 40}, ?, thing 0" in told
    assert "and 992 more" in told
    assert len(told) < 400
