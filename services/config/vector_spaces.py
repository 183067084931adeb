"""Embeddings of different models cannot be compared, so a call may not move between them unnoticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.config.problems import Problem, dotted


def incomparable(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every embedding model without `vector_space` when its route has several backends.

    It works on the file as it was read, so that these problems are told together with all others.
    """
    routes, models = data.get("routes"), data.get("models")
    route = routes.get("embed") if isinstance(routes, dict) else None
    backends = route.get("backends") if isinstance(route, dict) else route
    if not isinstance(backends, list) or len(backends) <= 1 or not isinstance(models, dict):
        return
    for name, model in models.items():
        if isinstance(model, dict) and model.get("capability") == "embed" and "vector_space" not in model:
            yield Problem(
                dotted("models", name, "vector_space"),
                "is missing: routes.embed names several backends, and embeddings of different models cannot "
                "be compared",
                "name a space of its own for each model, or the same for those whose embeddings compare",
            )
