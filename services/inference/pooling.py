"""Token vectors to one embedding, for ready-made graphs that stop at token vectors.

Graphs from our own builder pool inside (`graph/heads.py`), where a GPU need not send all token vectors
back; tests hold the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.config import Pooling
from services.inference.encoding import Encoding

Vectors = NDArray[np.float32]


def pool(hidden: Vectors, encodings: Sequence[Encoding], pooling: Pooling) -> Vectors:
    """Return one vector per text, [batch, width], from token vectors [batch, tokens, width].

    Padding stands on the right and takes no part.
    """
    lengths = np.array([len(encoding) for encoding in encodings])
    if pooling == "cls":
        pooled = hidden[:, 0]
    elif pooling == "last_token":
        pooled = hidden[np.arange(len(lengths)), lengths - 1]
    else:
        real = np.arange(hidden.shape[1])[None, :] < lengths[:, None]
        total = np.einsum("btw,bt->bw", hidden, real.astype(np.float32))
        pooled = total / lengths[:, None].astype(np.float32)
    return np.asarray(pooled, dtype=np.float32)


def finish(embedding: Vectors, *, dimensions: int | None, normalize: bool) -> Vectors:
    """Cut an embedding [width] to its first `dimensions` components, then scale it to length 1.

    In this order, so that a shortened embedding has length 1 as well (Kusupati et al. 2022,
    "Matryoshka Representation Learning", arXiv:2205.13147). A zero vector stays zero.
    """
    kept = embedding if dimensions is None else embedding[:dimensions]
    if not normalize:
        return kept
    length = math.sqrt(np.dot(kept, kept))
    return kept * np.float32(1 / length) if length else kept
