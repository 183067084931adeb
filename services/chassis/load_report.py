"""How busy a process is, told with every answer: ORCA load reports.

Open Request Cost Aggregation, https://github.com/grpc/proposal/blob/master/A51-custom-backend-metrics.md:
trailing metadata `endpoint-load-metrics-bin` holds a serialized `xds.data.orca.v3.OrcaLoadReport`. Of its
fields only `application_utilization` is sent and read, a double with number 9: 0 is idle, 1 is all that the
process has, and more means that calls wait. Any client that balances by such reports understands it.

gRPC's client library keeps such reports for itself: an application never sees them. So the number goes as
`inglenook-load` besides, for callers that choose replicas themselves.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from services.chassis.pipeline.layer import Behavior, Context, Method
from services.chassis.trailing import add_trailing

LOAD_KEY: Final = "inglenook-load"
ORCA_KEY: Final = "endpoint-load-metrics-bin"

_TAG: Final = 9 << 3 | 1
"""Field 9, eight bytes of fixed length (https://protobuf.dev/programming-guides/encoding/)."""
_REPORT: Final = struct.Struct("<Bd")
_FIXED: Final = {1: 8, 5: 4}
_VARINT: Final = 0
_BYTES: Final = 2
_KEYS: Final = frozenset({LOAD_KEY, ORCA_KEY})


def encode(utilization: float) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata that tells a utilization, 0 or more."""
    return (LOAD_KEY, f"{utilization:.4g}"), (ORCA_KEY, _REPORT.pack(_TAG, utilization))


def decode(metadata: Iterable[tuple[str, Any]]) -> float | None:
    """Return the utilization that trailing metadata tells; None if it tells none, or nothing sensible."""
    told = {key: value for key, value in metadata if key in _KEYS}
    utilization = _number(told.get(LOAD_KEY))
    if utilization is None:
        utilization = _report(told.get(ORCA_KEY))
    sensible = utilization is not None and math.isfinite(utilization) and utilization >= 0
    return utilization if sensible else None


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _report(report: Any) -> float | None:
    try:
        return _field(report) if isinstance(report, bytes) else None
    except (IndexError, KeyError, struct.error):
        return None


def _field(report: bytes) -> float | None:
    """Return what field 9 holds; the other fields of a report are skipped."""
    found: float | None = None
    place = 0
    while place < len(report):
        tag, place = _varint(report, place)
        kind = tag & 7
        if tag == _TAG:
            (found,) = struct.unpack_from("<d", report, place)
        if kind == _VARINT:
            _, place = _varint(report, place)
        elif kind == _BYTES:
            length, place = _varint(report, place)
            place += length
        else:
            place += _FIXED[kind]
    return found


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more follows
            return value, place
        shift += 7


class LoadReports:
    """Tells the load of the process with every answer.

    Args:
        utilization: Returns how busy the process is.
    """

    def __init__(self, utilization: Callable[[], float]) -> None:
        self._utilization = utilization

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner`, with a report at its end."""
        del method

        async def reported(request: Any, context: Context) -> Any:
            response = await inner(request, context)
            add_trailing(context, *encode(self._utilization()))
            return response

        return reported
