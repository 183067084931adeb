"""Keys: nothing that decides an answer is left out, and nothing else decides them."""

from __future__ import annotations

import string
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.cache.key import NAMESPACE, KeySpace, keys_of, model_tag, pattern_of

Space: TypeAlias = tuple[str, str, tuple[str | bytes | int | float | bool | None, ...]]

SHORT = st.text("ab\x00:1", max_size=3)
FIELDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, 0.1]),
    SHORT,
    st.binary(max_size=2),
)
SPACES = st.tuples(SHORT, SHORT, st.lists(FIELDS, max_size=3).map(tuple))
ITEMS = st.lists(st.one_of(SHORT, st.binary(max_size=2)), max_size=3).map(tuple)


def exact(space: Space, item: tuple[str | bytes, ...]) -> str:
    """Return what tells apart what Python calls equal: 1, 1.0 and True, 0.0 and -0.0."""
    return repr((space, item))


@given(SPACES, ITEMS, SPACES, ITEMS)
def test_two_keys_are_the_same_only_if_everything_is(
    one: Space, item: tuple[str | bytes, ...], other: Space, another: tuple[str | bytes, ...]
) -> None:
    """Short texts of few letters collide wherever a length or a type is missing."""
    same = KeySpace(*one).key(*item) == KeySpace(*other).key(*another)
    assert same == (exact(one, item) == exact(other, another))


FIELD_LISTS: list[tuple[list[str | bytes | int | float | bool | None], ...]] = [
    ([1], [1.0], [True], ["1"], [b"1"], [None], [], [1, 1], [-1], [10**30], ["", ""], [""]),
]


@pytest.mark.parametrize("lists", FIELD_LISTS)
def test_fields_of_other_types_are_other_fields(
    lists: tuple[list[str | bytes | int | float | bool | None], ...],
) -> None:
    """The number 1, the text 1, the bytes 1 and true are four different options."""
    assert len({KeySpace("embed", "m", fields).key("text") for fields in lists}) == len(lists)


def test_a_pair_is_not_its_texts_in_a_row() -> None:
    """Where the first text ends decides an inference, and so does which of them comes first."""
    space = KeySpace("nli", "m", [])
    keys = {
        space.key("a", "bc"),
        space.key("ab", "c"),
        space.key("abc"),
        space.key("bc", "a"),
        space.key("", "abc"),
    }
    assert len(keys) == 5


def test_a_key_is_the_same_in_every_process() -> None:
    """Routers of today and tomorrow find what was kept; a change of this is a new FORMAT."""
    key = KeySpace("embed", "minilm", ["sha", 1, True, None, 0.5, b"x"]).key("text", b"more")
    assert key == b"inglenook:cache:1:f0527980fee82b39:" + bytes.fromhex("d256561ebf36d77e4de1fcd512674adc")


@given(st.text(string.printable, min_size=1))
def test_every_key_of_a_model_begins_alike(model: str) -> None:
    """So that those of one model are found, and no others."""
    key = KeySpace("embed", model, []).key("text")
    assert key.startswith(keys_of(model))
    assert key.startswith(keys_of())
    assert not key.startswith(keys_of(model + "x"))


def test_a_pattern_of_redis_has_no_letters_with_a_meaning_of_their_own() -> None:
    """A model may be called what it likes: its name is not in the pattern."""
    assert pattern_of("[a]*?\\") == NAMESPACE + b"*:" + model_tag("[a]*?\\") + b":*"
    assert pattern_of() == NAMESPACE + b"*"


def test_half_of_a_surrogate_pair_has_a_key() -> None:
    """Text that is none must not end a call here."""
    space = KeySpace("embed", "m", [])
    assert space.key("\ud800") != space.key("\udc00")
