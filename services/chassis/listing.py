"""Asking a service which models it has, without having it find out how they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BRIEF: Final = ("inglenook-list", "brief")
"""Metadata of `ListModels` for who asks every few seconds: names and fingerprints are wanted, which the
service knows by itself. No provider is asked, and of states it is told what is known."""


def is_brief(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Say whether a call with this metadata wants only what the service knows by itself."""
    return BRIEF in (metadata or ())
