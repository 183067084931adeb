from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chat.vectors import finish

COMPONENTS = st.lists(st.floats(-1e6, 1e6).filter(lambda one: one == 0 or abs(one) > 1e-3), min_size=1)


@given(COMPONENTS, st.integers(1, 8))
def test_shortened_embedding_is_a_unit_vector_again(vector: list[float], dimensions: int) -> None:
    """Its first components keep their proportions and get length 1, unless all of them are zero."""
    kept = finish(vector, dimensions, normalize=True)
    assert len(kept) == min(len(vector), dimensions)
    length = math.sqrt(math.fsum(component**2 for component in kept))
    assert length == pytest.approx(1.0 if any(vector[:dimensions]) else 0.0)


def test_embedding_stays_as_it_is_when_nothing_is_asked_for() -> None:
    """No rounding, no scaling."""
    assert finish([3.0, 4.0], None, normalize=False) == [3.0, 4.0]
