from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.config import Limits
from services.inference.errors import InferenceError, InferenceFailed, InputTooLong, InvalidInput
from services.inference.models.labels import Roles
from services.inference.models.zero_shot import DEFAULT_TEMPLATE, ClassifyOptions, LabelScore, rank, score
from services.inference.pairs import Truncation
from tests.support.entailment import THREE, Judge, judging, softmax
from tests.support.onnx_files import POISON_TEXT

LIMITS = Limits(max_client_batch_size=300, max_input_characters=400)
SECRET = "zanzibar"
TEXTS = ("the cat sits on the mat", "a dog runs", "green")
LABELS = ("cat", "dog", "tree", "mat")
ALL_ROLES = [
    Roles(1, neutral=2, contradiction=0),
    Roles(0, neutral=1, contradiction=2),
    Roles(1, neutral=0, contradiction=2),
    Roles(1, rest=0),
    Roles(0, contradiction=1),
    Roles(1, neutral=0),
]


@pytest.fixture
async def judge(tmp_path: Path) -> AsyncIterator[Judge]:
    """A model of three classes: contradiction, entailment, neutral."""
    async with judging(tmp_path, THREE, limits=LIMITS) as judge:
        yield judge


def by_label(ranking: Sequence[LabelScore]) -> NDArray[np.float64]:
    """Return scores in the order of the labels, after a look at the order that they came in."""
    scores = [one.score for one in ranking]
    assert scores == sorted(scores, reverse=True)
    return np.array([score for _, score in sorted(ranking)])


def hypothesis(label: str, template: str = DEFAULT_TEMPLATE) -> str:
    """Return the hypothesis about a label that holds no braces."""
    return template.replace("{}", label)


async def test_labels_that_exclude_each_other_share_a_softmax_over_entailment(judge: Judge) -> None:
    """Neutral and contradiction take no part, and the scores of a text add up to 1."""
    classified = await judge.model.classify(TEXTS, LABELS, ClassifyOptions())

    for text, ranking in zip(TEXTS, classified.results, strict=True):
        entailment = np.array([judge.logits(text, hypothesis(label))[1] for label in LABELS])
        np.testing.assert_allclose(by_label(ranking), softmax(entailment), rtol=1e-6)
        assert by_label(ranking).sum() == pytest.approx(1)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
@pytest.mark.parametrize("roles", ALL_ROLES)
async def test_labels_on_their_own_are_weighed_against_the_opposite(
    tmp_path: Path, roles: Roles, labels: tuple[str, ...]
) -> None:
    """Entailment against contradiction wherever it is, or against the other class of two."""
    width = 2 if roles.neutral is None or roles.contradiction is None else 3
    both = [roles.entailment, roles.opposite]
    async with judging(tmp_path, roles, width=width) as judge:
        classified = await judge.model.classify(TEXTS, labels, ClassifyOptions(multi_label=True))
        for text, ranking in zip(TEXTS, classified.results, strict=True):
            expected = [softmax(judge.logits(text, hypothesis(label))[both])[0] for label in labels]
            np.testing.assert_allclose(by_label(ranking), expected, rtol=1e-6)


async def test_a_single_label_is_judged_on_its_own(judge: Judge) -> None:
    """It has nothing to exclude: a score of 1 by construction would say nothing."""
    alone = await judge.model.classify(TEXTS, ["cat"], ClassifyOptions(multi_label=False))
    multi = await judge.model.classify(TEXTS, ["cat"], ClassifyOptions(multi_label=True))

    assert alone.results == multi.results
    assert all(0 < ranking[0].score < 1 for ranking in alone.results)


async def test_equal_scores_keep_the_order_of_the_labels() -> None:
    """Equal as they are sent, in fp32: two that differ beyond that are no reason to turn labels around."""
    logits = np.zeros((1, 6, 3))
    logits[0, :, 1] = [0, 1e-12, 2, 2e-12, 2 + 1e-12, -1]
    for multi_label in (False, True):
        (ranking,) = await rank(score(logits, THREE, multi_label=multi_label))
        assert [one.place for one in ranking] == [2, 4, 0, 1, 3, 5]


async def test_ranking_many_labels_keeps_texts_apart() -> None:
    """More scores than are handled in one turn of the event loop, in a shape that no turn divides."""
    scores = np.random.default_rng(0).random((7, 123), dtype=np.float32)

    rankings = await rank(scores)

    assert len(rankings) == 7
    for row, ranking in zip(scores, rankings, strict=True):
        assert by_label(ranking).tolist() == row.tolist()


@pytest.mark.parametrize(
    ("template", "label", "expected"),
    [
        ("{}", "a cat", "a cat"),
        ("the {} runs.", "cat", "the cat runs."),
        ("the {} runs.", "{}", "the {} runs."),
        ("the {} runs.", "{0} {x!r} {", "the {0} {x!r} { runs."),
        ("{0} {a.b} {} }", "cat", "{0} {a.b} cat }"),
        ("{{}}", "cat", "{cat}"),
        ("%s \\1 {} $1", "cat", "%s \\1 cat $1"),
    ],
)
async def test_a_label_is_put_into_the_template_as_it_is(
    judge: Judge, template: str, label: str, expected: str
) -> None:
    """Nothing but the one pair of braces means anything, in templates or in labels."""
    await judge.model.classify(["the cat"], [label], ClassifyOptions(hypothesis_template=template))

    assert judge.computed == [judge.ids("the cat", expected)]


async def test_equal_texts_are_computed_once_and_answered_each(judge: Judge) -> None:
    """Beside every label; usage counts what was computed."""
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]]

    classified = await judge.model.classify(texts, LABELS, ClassifyOptions())

    expected = [judge.ids(text, hypothesis(label)) for text in TEXTS[:2] for label in LABELS]
    assert sorted(judge.computed) == sorted(expected)
    assert classified.cost.input_tokens == sum(map(len, expected))
    assert classified.results[0] == classified.results[2] == classified.results[3]
    assert classified.results[0] != classified.results[1]


@pytest.mark.parametrize("side", ["right", "left"])
async def test_the_text_is_cut_and_never_the_hypothesis(judge: Judge, side: Any) -> None:
    """Each label leaves another length of the text."""
    text = "".join(f"cat {letter} " for letter in "abcdefghijklmnopqrstuvwxyz") * 2
    labels = ["dog", "mat " * 30]
    truncation: Truncation = side

    await judge.model.classify([text], labels, ClassifyOptions(truncation=truncation))

    expected = [judge.ids(text, hypothesis(label), side) for label in labels]
    assert sorted(judge.computed) == sorted(expected)


async def test_texts_that_are_too_long_are_named_once_with_their_longest_hypothesis(judge: Judge) -> None:
    """That is how much shorter they have to be."""
    texts = ["the cat", "cat " * 60, "cat " * 57]

    with pytest.raises(InputTooLong) as raised:
        await judge.model.classify(texts, ["a dog runs", "a"], ClassifyOptions(hypothesis_template="the {}"))

    assert list(raised.value.violations) == [
        ("inputs[1]", f"has {60 + 4 + 3} tokens, 3 more than the model takes")
    ]


async def test_a_label_that_leaves_no_room_is_refused_even_with_truncation(judge: Judge) -> None:
    """The label is to blame, not the text."""
    with pytest.raises(InputTooLong) as raised:
        await judge.model.classify(
            ["the cat sits"], ["dog", "tree " * 61], ClassifyOptions("{}", truncation="right")
        )

    assert [path for path, _ in raised.value.violations] == ["labels[1]"]


@pytest.mark.parametrize(
    ("inputs", "labels", "template", "violations"),
    [
        ([], ["a"], "{}", [("inputs", "must hold at least 1 text")]),
        (["a"], [], "{}", [("labels", "must hold at least 1 label")]),
        (["a", "b", " "], ["a"], "{}", [("inputs[2]", "must not be empty")]),
        (["a"], ["b", ""], "{}", [("labels[1]", "must not be empty")]),
        (["a"], ["b", "c", "d", "c"], "{}", [("labels[3]", "is the same as labels[1]")]),
        (["a"] * 301, ["b"], "{}", [("inputs", "has 301 texts, 300 at most per call")]),
        (["a"], [str(one) for one in range(301)], "{}", [("labels", "has 301 labels, 300 at most per call")]),
        (
            ["a"] * 31,
            [str(one) for one in range(10)],
            "{}",
            [("labels", "has 10 labels, times 31 inputs are 310 pairs to judge, 300 at most per call")],
        ),
        (
            ["a"],
            ["b"],
            "about it",
            [
                (
                    "hypothesis_template",
                    "must contain {} once, where the label goes, and does not contain it",
                )
            ],
        ),
        (
            ["a"],
            ["b"],
            "{} or {}",
            [
                (
                    "hypothesis_template",
                    "must contain {} once, where the label goes, and contains it 2 times",
                )
            ],
        ),
        (
            ["a"],
            ["b"],
            "{}" + "a" * 999,
            [("hypothesis_template", "has 1001 characters, 1000 at most")],
        ),
        (
            ["", "a" * 401],
            ["b", "b", " "],
            "",
            [
                ("inputs[0]", "must not be empty"),
                ("inputs[1]", "has 401 characters, 400 at most"),
                ("labels[1]", "is the same as labels[0]"),
                ("labels[2]", "must not be empty"),
                (
                    "hypothesis_template",
                    "must contain {} once, where the label goes, and does not contain it",
                ),
            ],
        ),
    ],
)
async def test_everything_that_is_wrong_with_a_classification_is_named_at_once(
    judge: Judge, inputs: list[str], labels: list[str], template: str, violations: list[tuple[str, str]]
) -> None:
    """With its path, so that a caller repairs a call in one go."""
    with pytest.raises(InvalidInput) as raised:
        await judge.model.classify(inputs, labels, ClassifyOptions(hypothesis_template=template))

    assert list(raised.value.violations) == violations
    assert judge.computed == []


async def test_as_many_texts_times_labels_as_a_call_may_hold_are_taken(judge: Judge) -> None:
    """Thirty texts and ten labels make the three hundred pairs of the limit."""
    texts = [f"cat {number:o}" for number in range(30)]  # octal: a 9 cannot be computed here
    labels = [f"dog {number:o}" for number in range(10)]

    classified = await judge.model.classify(texts, labels, ClassifyOptions())

    assert len(judge.computed) == 300
    for text, ranking in zip(texts, classified.results, strict=True):
        entailment = np.array([judge.logits(text, hypothesis(label))[1] for label in labels])
        np.testing.assert_allclose(by_label(ranking), softmax(entailment), rtol=1e-6)


async def test_a_text_that_cannot_be_computed_is_named(judge: Judge) -> None:
    """By its place in the call, counted with its repetitions."""
    texts = ["a", "a", f"{SECRET} {POISON_TEXT}", "b"]

    with pytest.raises(InferenceFailed) as raised:
        await judge.model.classify(texts, LABELS, ClassifyOptions())

    assert raised.value.metadata == {"parameter": "inputs[2]"}


@pytest.mark.parametrize(
    ("text", "labels", "template"),
    [
        (f"{SECRET} " * 20, ["a"], "{}"),
        ("a", [f"{SECRET} " * 20], "{}"),
        ("a", [SECRET, SECRET], "{}"),
        ("a", ["b"], SECRET),
        ("a", ["b"], f"{{}} {SECRET * 200}"),
        (SECRET, [""], "{}"),
    ],
)
async def test_errors_never_contain_texts_or_labels(
    judge: Judge, text: str, labels: list[str], template: str
) -> None:
    """Status messages end up in logs of proxies and in other people's dashboards."""
    with pytest.raises(InferenceError) as raised:
        await judge.model.classify([text], labels, ClassifyOptions(hypothesis_template=template))

    assert (
        SECRET not in f"{raised.value!s} {raised.value!r} {raised.value.metadata} {raised.value.violations}"
    )
