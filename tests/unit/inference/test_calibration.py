from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.artifacts import ArtifactProblem
from services.inference import calibration
from services.inference.calibration import BATCHES, MOST_PASSES, Calibration, cached, calibrate
from services.inference.encoding import Encoding

SOME = Calibration(512, 20.5, 12_345.6)


class Clock:
    """A clock that only a runner moves; stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        """Return the seconds."""
        return self.now


class CostlyRunner:
    """Takes a millisecond per run and one per `rate` tokens; dearer tokens beyond `cliff` of them."""

    lanes = 1
    has_wide = False

    def __init__(self, clock: Clock, *, rate: float = 32, cliff: int = 1_000_000) -> None:
        self._clock = clock
        self._rate = rate
        self._cliff = cliff
        self.batches: list[tuple[int, int]] = []

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Let time pass."""
        assert not wide
        longest = max(map(len, encodings))
        tokens = longest * len(encodings)
        self.batches.append((len(encodings), longest))
        self._clock.now += 0.001 * (1 + tokens / self._rate + max(0, tokens - self._cliff) / self._rate)
        return [np.zeros(1)] * len(encodings)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that calibration goes by."""
    made = Clock()
    monkeypatch.setattr(calibration, "time", made)
    return made


def test_sizes_beyond_the_cliff_are_not_chosen(clock: Clock) -> None:
    """Where caches overflow every token is dearer; the size just before is the best."""
    measured = calibrate(CostlyRunner(clock, cliff=256), "cpu", 64)

    assert measured.max_batch_tokens == 256
    assert measured.overhead_tokens == pytest.approx(32)
    assert measured.tokens_per_second == pytest.approx(256 / 0.009)


def test_every_size_is_tried_in_turns(clock: Clock) -> None:
    """Texts of 32 tokens, pass after pass: a busy moment spoils one try of some sizes, not all of one."""
    runner = CostlyRunner(clock, rate=2000)

    calibrate(runner, "cpu", 512)

    assert runner.batches == [(tokens // 32, 32) for tokens in BATCHES["cpu"]] * MOST_PASSES


def test_a_busy_moment_does_not_decide(clock: Clock) -> None:
    """One slow run of the best size is forgotten once another was fast."""

    class Interrupted(CostlyRunner):
        def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
            first = all(size != len(encodings) for size, _ in self.batches)
            rows = super().run(encodings, wide=wide)
            clock.now += 0.1 if first and len(encodings) == 8 else 0
            return rows

    assert calibrate(Interrupted(clock, cliff=256), "cpu", 64).max_batch_tokens == 256


def test_models_of_short_texts_are_measured_with_short_texts(clock: Clock) -> None:
    """A text longer than the model takes could not be run."""
    runner = CostlyRunner(clock)

    calibrate(runner, "cpu", 7)

    assert {longest for _, longest in runner.batches} == {7}


def test_slow_models_are_not_measured_for_long(clock: Clock) -> None:
    """A start must not take minutes: the sizes tried so far have to do."""
    runner = CostlyRunner(clock, rate=0.1)

    measured = calibrate(runner, "cpu", 64)

    assert len(runner.batches) < len(BATCHES["cpu"])
    assert measured.max_batch_tokens == 64


def test_smallest_size_that_is_nearly_the_best_is_chosen() -> None:
    """Smaller batches answer sooner; one percent of the rate is not worth waiting for."""
    rates = {64: 500.0, 128: 890.0, 256: 985.0, 512: 990.0, 1024: 1000.0}

    measured = calibration._choose([(tokens, tokens / rate) for tokens, rate in rates.items()], lanes=1)

    assert measured.max_batch_tokens == 256


def test_all_lanes_together_make_the_rate() -> None:
    """Callers are told when to come back by what the whole engine does, not one lane."""
    measured = [(64, 0.1), (128, 0.15)]

    one, four = (calibration._choose(measured, lanes).tokens_per_second for lanes in (1, 4))

    assert four == pytest.approx(4 * one)


@pytest.mark.parametrize(
    ("measured", "overhead"),
    [
        ([(64, 0.0646), (128, 0.127), (256, 0.250)], 2.3),  # nearly no fixed cost
        ([(64, 1.000), (128, 1.001), (256, 1.003)], 128.0),  # nearly nothing else
        ([(64, 0.100), (128, 0.090)], 16.0),  # larger batches are faster: no line makes sense
        ([(64, 0.100)], 8.0),  # one point makes no line
    ],
)
def test_overhead_stays_within_reason(measured: list[tuple[int, float]], overhead: float) -> None:
    """A noisy machine gives lines that cross zero anywhere; batching must not go mad over them."""
    assert calibration._choose(measured, lanes=1).overhead_tokens == pytest.approx(overhead, rel=0.05)


def test_calibration_is_remembered(tmp_path: Path) -> None:
    """Measuring takes a second; a start with a warm cache has none to spare."""
    cached(tmp_path, ("fingerprint", 2)).write(SOME)

    assert cached(tmp_path, ("fingerprint", 2)).read() == SOME


@pytest.mark.parametrize("key", [("other", 2), ("fingerprint", 4), ("fingerprint",)])
def test_calibration_is_not_taken_for_that_of_another_model(tmp_path: Path, key: Sequence[object]) -> None:
    """Another model or another number of lanes has other costs."""
    cached(tmp_path, ("fingerprint", 2)).write(SOME)

    assert cached(tmp_path, key).read() is None


def test_calibration_of_another_machine_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache directory may be shared by machines with different processors."""
    cached(tmp_path, ("fingerprint", 2)).write(SOME)
    monkeypatch.setattr(calibration, "_processor", lambda: "Another CPU @ 9 GHz")

    assert cached(tmp_path, ("fingerprint", 2)).read() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"max_batch_tokens": 5}',
        b'{"max_batch_tokens": null, "overhead_tokens": 1.0, "tokens_per_second": 1.0}',
        b'{"max_batch_tokens": 0, "overhead_tokens": 1.0, "tokens_per_second": 1.0}',
        json.dumps({"max_batch_tokens": 1, "overhead_tokens": 1, "tokens_per_second": 1, "more": 1}).encode(),
    ],
)
def test_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    """It is measured and written again, rather than failing the start."""
    file = cached(tmp_path, ("fingerprint", 2))
    file.write(SOME)
    file.path.write_bytes(content)
    assert file.read() is None

    file.write(SOME)

    assert file.read() == SOME


def test_writing_leaves_no_scratch_file(tmp_path: Path) -> None:
    """The file appears by a rename, whole."""
    file = cached(tmp_path, ("fingerprint", 2))

    file.write(SOME)

    assert list(file.path.parent.iterdir()) == [file.path]


def test_cache_that_cannot_be_written_only_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next start measures again; that is not worth failing this one for."""
    (tmp_path / "calibrations").write_text("a file in the folder's place", encoding="utf-8")

    with caplog.at_level(logging.WARNING):
        cached(tmp_path, ("fingerprint", 2)).write(SOME)

    assert [record.message for record in caplog.records] == ["a calibration could not be remembered"]


class SmallRunner(CostlyRunner):
    """Has the memory for 256 tokens, and after its first pass for 128."""

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Run a batch, unless it is too large."""
        tokens = sum(map(len, encodings))
        if tokens > (128 if len(self.batches) > 4 else 256):
            self.batches.append((len(encodings), len(encodings[0])))
            message = "out of memory"
            raise RuntimeError(message)
        return super().run(encodings, wide=wide)


def test_size_that_does_not_run_is_passed_over_with_all_larger_ones(clock: Clock) -> None:
    """A device that has not the memory for the largest batches has it for others: the model is loaded."""
    runner = SmallRunner(clock)

    measured = calibrate(runner, "cpu", 64)

    assert measured.max_batch_tokens == 128
    assert [size for size, _ in runner.batches][:9] == [2, 4, 8, 12, 2, 4, 8, 2, 4]
    assert {size for size, _ in runner.batches[9:]} == {2, 4}


def test_model_that_runs_on_no_batch_is_a_problem(clock: Clock) -> None:
    """Exports for one text at a time exist; the message asks whether this is one."""

    class Single(CostlyRunner):
        def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
            assert len(encodings) == 1
            return super().run(encodings, wide=wide)

    with pytest.raises(ArtifactProblem, match="not even of 64 tokens; does it take one text at a time"):
        calibrate(Single(clock), "cpu", 64)
