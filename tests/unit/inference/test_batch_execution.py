"""Running one batch: a row for each input, and poison alone with its failure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.inference.batching.execution import execute, run_or_halve
from services.inference.encoding import Encoding
from tests.support.runners import EchoRunner, OddRunner, encoding, encodings, marks_of, row

examples = settings(deadline=None, max_examples=150)
batches = st.integers(1, 70).flatmap(
    lambda size: st.tuples(st.just(size), st.frozensets(st.integers(0, size - 1), max_size=6))
)


@examples
@given(batches)
def test_all_but_the_poison_get_their_rows(batch: tuple[int, frozenset[int]]) -> None:
    """Each input that can be computed is, whatever shares its batch, and rows stay in place."""
    size, poison = batch
    rows = run_or_halve(EchoRunner(poison=poison), encodings(range(size)), wide=False)

    assert [None if found is None else int(found[0]) for found in rows] == [
        None if mark in poison else mark for mark in range(size)
    ]


@examples
@given(batches)
def test_poison_costs_two_runs_per_halving_at_most(batch: tuple[int, frozenset[int]]) -> None:
    """One bad input among many does not make the batch as dear as running each input alone."""
    size, poison = batch
    runner = EchoRunner(poison=poison)
    run_or_halve(runner, encodings(range(size)), wide=False)

    assert len(runner.runs) - 1 <= 2 * len(poison) * ceil(log2(size))


def test_batch_without_poison_is_one_run() -> None:
    """Halving is for failures only."""
    runner = EchoRunner()
    rows, seconds = execute(runner, encodings(range(50)), wide=False)

    assert len(runner.runs) == 1
    assert len(rows) == 50
    assert seconds > 0


@pytest.mark.parametrize("wide", [True, False])
def test_halves_run_with_the_threads_of_the_batch(wide: bool) -> None:
    """A batch that has one lane must not take others when it fails."""
    runner = EchoRunner(lanes=2, has_wide=True, poison=[3])
    run_or_halve(runner, encodings(range(8)), wide=wide)

    assert {run.wide for run in runner.runs} == {wide}


@pytest.mark.parametrize("extra", [-1, 1])
def test_rows_that_belong_to_nobody_are_not_handed_out(extra: int) -> None:
    """When there are too few or too many, none can be trusted: the batch counts as failed."""

    def answer(given: Sequence[Encoding]) -> Sequence[NDArray[Any]]:
        rows = [row(one) for one in [*given, *given]]
        return rows[: len(given) + (extra if len(given) > 1 else 0)]

    rows = run_or_halve(OddRunner(answer), encodings(range(5)), wide=False)

    assert marks_of([found for found in rows if found is not None]) == [0, 1, 2, 3, 4]


def test_input_that_fails_is_logged_by_size_and_not_by_content(caplog: pytest.LogCaptureFixture) -> None:
    """The operator learns why and how long it was; what the caller wrote stays out of the log."""
    run_or_halve(EchoRunner(poison=[987654]), [encoding(1), encoding(987654, length=17)], wide=False)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["tokens"] == 17
    assert record.__dict__["error"] == "poison"
    assert "987654" not in str(record.__dict__)
