"""Envelopes: what is not exactly what was put under a key does not open."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.router.cache.value import MAX_ANSWER_BYTES, VERSION, seal, unseal

BYTES = st.binary(max_size=40)


@given(BYTES, BYTES)
def test_what_was_sealed_opens(key: bytes, answer: bytes) -> None:
    """Empty answers, too."""
    assert unseal(key, seal(key, answer)) == answer


@given(BYTES, BYTES, BYTES)
def test_an_answer_to_another_key_does_not_open(key: bytes, other: bytes, answer: bytes) -> None:
    """A value that has come to lie under the wrong key is found out."""
    assert (unseal(other, seal(key, answer)) is None) == (key != other)


@given(BYTES, BYTES, st.data())
def test_a_value_that_was_changed_does_not_open(key: bytes, answer: bytes, data: st.DataObject) -> None:
    """Cut short, made longer, or with one bit turned over."""
    sealed = seal(key, answer)
    cut = data.draw(st.integers(0, len(sealed) - 1))
    bit = data.draw(st.integers(0, 7))
    turned = bytearray(sealed)
    turned[cut] ^= 1 << bit
    for changed in (sealed[:cut], sealed + b"x", bytes(turned)):
        assert unseal(key, changed) is None


def test_what_never_was_an_envelope_does_not_open() -> None:
    """Whatever another program or another version of this one left there."""
    old = b"\x00" + seal(b"k", b"answer")[len(VERSION) :]
    for value in (b"", b"garbage", "text", 7, ["a"], old, VERSION):
        assert unseal(b"k", value) is None


def test_a_value_that_is_larger_than_any_that_is_written_does_not_open() -> None:
    """It is not looked at any further."""
    answer = b"x" * (MAX_ANSWER_BYTES + 1)
    assert unseal(b"k", seal(b"k", answer)) is None
    assert unseal(b"k", seal(b"k", answer[1:])) == answer[1:]
