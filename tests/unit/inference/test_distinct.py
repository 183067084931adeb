from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.inference.models.distinct import Distinct


@given(st.lists(st.text("ab", max_size=2)))
def test_every_value_is_kept_once_and_found_again(values: list[str]) -> None:
    """In the order in which they came, with the place of the first of equal ones."""
    distinct = Distinct[str]()

    places = [distinct.add(value) for value in values]

    assert distinct.values == list(dict.fromkeys(values))
    assert places == distinct.places
    assert [distinct.values[place] for place in places] == values
    assert distinct.firsts == [values.index(value) for value in distinct.values]
