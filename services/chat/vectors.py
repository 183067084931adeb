"""Shortening and scaling of embeddings that providers sent."""

from __future__ import annotations

import math
from collections.abc import Sequence


def finish(vector: Sequence[float], dimensions: int | None, *, normalize: bool) -> list[float]:
    """Return the first `dimensions` components, all if None, scaled to length 1 (L2) if `normalize`.

    A vector of zeros has no direction and stays as it is.
    """
    kept = list(vector[:dimensions])
    length = math.hypot(*kept) if normalize else 0.0
    return [component / length for component in kept] if length > 0 else kept
