"""Encodings of different lengths as one rectangle."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from services.inference.encoding import Encoding

IDS, MASK, TYPES, POSITIONS = "input_ids", "attention_mask", "token_type_ids", "position_ids"
KNOWN_INPUTS = frozenset({IDS, MASK, TYPES, POSITIONS})


def pad(encodings: Sequence[Encoding], inputs: Collection[str]) -> dict[str, NDArray[np.int64]]:
    """Return the tensors that a graph asks for, padded on the right.

    Args:
        encodings: The batch, 1 entry or more.
        inputs: Which of `KNOWN_INPUTS` the graph has. Exports differ: ask the graph, never assume.

    Returns:
        Tensors [batch, longest] by name. Padding has id 0 and mask 0, so its id never matters.

    Raises:
        ValueError: An entry has no tokens. A packed graph would give it the vector of its neighbour's.
    """
    if not all(map(len, encodings)):
        message = "an encoding has no tokens"
        raise ValueError(message)
    shape = (len(encodings), max(map(len, encodings)))
    ids = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = 1
    tensors = {IDS: ids, MASK: mask}
    if TYPES in inputs:
        types = tensors[TYPES] = np.zeros(shape, dtype=np.int64)
        for row, encoding in enumerate(encodings):
            if encoding.type_ids is not None:
                types[row, : len(encoding)] = encoding.type_ids
    if POSITIONS in inputs:
        tensors[POSITIONS] = np.broadcast_to(np.arange(shape[1], dtype=np.int64), shape).copy()
    return {name: tensor for name, tensor in tensors.items() if name in inputs}
