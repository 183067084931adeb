"""What every model is loaded with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.artifacts import Origins
from services.config import Engine, Limits


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every model is loaded with.

    Attributes:
        engine: How models are run.
        limits: How much is accepted.
        origins: Where files come from, and where what was made of them is kept.
    """

    engine: Engine
    limits: Limits
    origins: Origins

    @property
    def cache(self) -> Path:
        """Where built graphs and calibrations are kept."""
        return self.origins.cache
