"""Trailing metadata: what goes back with the end of a call."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import grpc

FINGERPRINT_KEY: Final = "inglenook-model-fingerprint"
"""Fingerprint of the model that computed the answer (`ModelInfo.fingerprint`)."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def add_trailing(context: Context, *entries: tuple[str, str | bytes]) -> None:
    """Send `entries` with the end of the call, besides what is to be sent already."""
    context.set_trailing_metadata((*(context.trailing_metadata() or ()), *entries))
