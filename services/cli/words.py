"""What stands in messages as numbers and enums, in the words of people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Capability, ModelState, Pooling, Precision, TargetState

MINUTE: Final = 60

Value = TypeVar("Value", bound=int)

STATE_COLORS: Final = {
    ModelState.MODEL_STATE_READY: "green",
    ModelState.MODEL_STATE_LOADING: "yellow",
    ModelState.MODEL_STATE_UNLOADING: "yellow",
    ModelState.MODEL_STATE_FAILED: "red",
}

TARGET_STATE_COLORS: Final = {
    TargetState.TARGET_STATE_HEALTHY: "green",
    TargetState.TARGET_STATE_EJECTED: "red",
    TargetState.TARGET_STATE_PROBING: "yellow",
    TargetState.TARGET_STATE_COOLING: "yellow",
    TargetState.TARGET_STATE_UNREACHABLE: "red",
}


def capability_word(value: Capability.ValueType) -> str:
    """Return `embed` for CAPABILITY_EMBED; "" if it is not set."""
    return _word(Capability.Name, value, "CAPABILITY_")


def state_word(value: ModelState.ValueType) -> str:
    """Return `ready` for MODEL_STATE_READY; `unknown` if it is not set."""
    return _word(ModelState.Name, value, "MODEL_STATE_") or "unknown"


def precision_word(value: Precision.ValueType) -> str:
    """Return `fp32` for PRECISION_FP32; "" if it is not set."""
    return _word(Precision.Name, value, "PRECISION_")


def pooling_word(value: Pooling.ValueType) -> str:
    """Return `last_token` for POOLING_LAST_TOKEN, as the configuration writes it; "" if it is not set."""
    return _word(Pooling.Name, value, "POOLING_")


def colored_state(value: ModelState.ValueType) -> str:
    """Return the word for a model's state as markup."""
    return f"[{STATE_COLORS.get(value, 'dim')}]{state_word(value)}[/]"


def colored_target_state(value: TargetState.ValueType) -> str:
    """Return the word for a target's state as markup; `unknown` if it is not set."""
    word = _word(TargetState.Name, value, "TARGET_STATE_") or "unknown"
    return f"[{TARGET_STATE_COLORS.get(value, 'dim')}]{word}[/]"


def mebibytes(count: int) -> str:
    """Return a number of bytes as `88 MiB`; "" for 0, which means that nobody has measured."""
    return f"{count / 2**20:.0f} MiB" if count else ""


def seconds_of(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def span(seconds: float) -> str:
    """Return a time that something took: `4.2 ms`, `3.1 s`, `2 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest} s"


def _word(name: Callable[[Value], str], value: Value, prefix: str) -> str:
    try:
        word = name(value).removeprefix(prefix).lower()
    except ValueError:
        return str(value)  # of a cluster that is newer than this tool
    return "" if word == "unspecified" else word
