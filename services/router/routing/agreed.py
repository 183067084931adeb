"""What replicas last agreed on, for as long as none of them is there to say anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.config import AnyModel
from services.router.routing.pool import Pool


class Agreed:
    """The fingerprint that the healthy replicas of a backend last agreed on, by model.

    Args:
        models: The models of the configuration. Only their fingerprints are remembered.
        pools: The backends.
        before: What was remembered before a reload. Models that the configuration says something else of
            now, and backends that it does not have any more, are forgotten.
    """

    def __init__(
        self, models: Mapping[str, AnyModel], pools: Sequence[Pool], before: Agreed | None = None
    ) -> None:
        self._models = models
        self._fingerprints: dict[tuple[Pool, str], str] = {}
        if before is not None:
            self._fingerprints = {
                (pool, model): fingerprint
                for (pool, model), fingerprint in before._fingerprints.items()  # its own kind
                if pool in pools and models.get(model) == before._models.get(model)
            }

    def note(self, pool: Pool, model: str, fingerprint: str) -> None:
        """Note what the replicas of a backend say now; empty if they do not agree, or do not have it."""
        if model not in self._models:
            return
        if fingerprint:
            self._fingerprints[pool, model] = fingerprint
        else:
            self._fingerprints.pop((pool, model), None)

    def last(self, pool: Pool, model: str) -> str:
        """Return what they last agreed on; empty if that is not known, or one has said otherwise since."""
        fingerprint = self._fingerprints.get((pool, model), "")
        for endpoint in pool.endpoints:
            info = endpoint.catalog.models.get(model)
            if endpoint.serves if info is None else info.fingerprint != fingerprint:
                return ""
        return fingerprint
