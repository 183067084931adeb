from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from services.chassis import interpreter


@pytest.fixture
def _interpreter_restored() -> Iterator[None]:
    """Put the interpreter back as it was."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_interpreter_restored")
def test_what_exists_is_frozen_and_the_collector_and_the_lock_are_set() -> None:
    """The three things that the docstring promises, each of which is easily lost without a trace."""
    gc.unfreeze()
    interpreter.settle()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == interpreter.YOUNG_THRESHOLD
    assert sys.getswitchinterval() == pytest.approx(interpreter.SWITCH_SECONDS)


@pytest.mark.usefixtures("_interpreter_restored")
def test_garbage_is_still_collected() -> None:
    """Frozen is what existed, not what comes later."""
    gc.enable()  # it is off while a unit test runs
    interpreter.settle()
    assert gc.isenabled()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
