from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.encoding import Encoding
from services.inference.padding import IDS, KNOWN_INPUTS, MASK, POSITIONS, TYPES, pad


def test_short_texts_are_padded_on_the_right() -> None:
    """Positions count from the left: padding there would shift them, and the answer with them."""
    tensors = pad([Encoding([5, 6, 7]), Encoding([8])], {IDS, MASK})

    assert tensors[IDS].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert tensors[MASK].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_types_are_padded_with_zero_and_zero_where_there_are_none() -> None:
    """Single texts have no types; a batch may mix them with pairs."""
    tensors = pad([Encoding([5, 6], [0, 1]), Encoding([7, 8, 9]), Encoding([4], [1])], KNOWN_INPUTS)

    assert tensors[TYPES].tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_positions_count_from_zero_in_every_row() -> None:
    """Exports that ask for positions do not make them themselves."""
    tensors = pad([Encoding([5, 6, 7]), Encoding([8])], KNOWN_INPUTS)

    assert tensors[POSITIONS].tolist() == [[0, 1, 2], [0, 1, 2]]


@given(inputs=st.sets(st.sampled_from(sorted(KNOWN_INPUTS))))
def test_only_what_the_graph_asks_for_is_made(inputs: set[str]) -> None:
    """ONNX Runtime refuses a tensor that the graph has no input for."""
    assert set(pad([Encoding([1, 2], [0, 1])], inputs)) == inputs


@given(batch=st.lists(st.lists(st.integers(0, 30_000), min_size=1, max_size=20), min_size=1, max_size=9))
def test_every_tensor_is_one_rectangle_that_holds_all_tokens(batch: list[list[int]]) -> None:
    """Whatever the lengths: the batch's longest text decides the width, and no token is lost."""
    tensors = pad([Encoding(ids) for ids in batch], KNOWN_INPUTS)

    for tensor in tensors.values():
        assert tensor.shape == (len(batch), max(map(len, batch)))
        assert tensor.dtype == np.int64
        assert tensor.flags.c_contiguous
    for row, ids in enumerate(batch):
        assert tensors[IDS][row][tensors[MASK][row] == 1].tolist() == ids


def test_encoding_without_tokens_is_refused() -> None:
    """A packed graph would answer it with the vector of another caller's token."""
    with pytest.raises(ValueError, match="an encoding has no tokens"):
        pad([Encoding([5]), Encoding([])], {IDS, MASK})
