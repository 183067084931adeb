"""Amounts and names of the contract, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.common.v1 import Capability

STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
UNIT: Final = 1024
FEW: Final = 10


def of_seconds(seconds: float) -> str:
    """Return a duration in its two largest units, as in `3 h 12 min`; less than a second in milliseconds."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    told: list[str] = []
    rest = int(seconds)
    for unit, size in STEPS:
        count, rest = divmod(rest, size)
        if count or told:
            told.append(f"{count} {unit}")
    return " ".join(told[:2])


def ago(moment: Timestamp) -> str:
    """Return how long ago something was; empty if it never was."""
    if not moment.seconds:
        return ""
    return f"{of_seconds(max(1.0, (datetime.now(UTC) - moment.ToDatetime(UTC)).total_seconds()))} ago"


def of_bytes(size: float) -> str:
    """Return a number of bytes, as in `1.5 GiB`."""
    power = 0
    while size >= UNIT and power < len(UNITS) - 1:
        size, power = size / UNIT, power + 1
    return f"{size:.1f} {UNITS[power]}" if power and size < FEW else f"{size:.0f} {UNITS[power]}"


def of_enum(name: str, prefix: str) -> str:
    """Return the name of an enum's value in words, as in `not serving`."""
    word = name.removeprefix(prefix).lower().replace("_", " ")
    return "not known" if word == "unspecified" else word


def of_capability(capability: Capability.ValueType) -> str:
    """Return the name of a capability."""
    return of_enum(Capability.Name(capability), "CAPABILITY_")
