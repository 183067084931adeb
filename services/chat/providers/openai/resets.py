"""When a limit is lifted, by the `x-ratelimit-reset-*` headers.

OpenAI and Groq write durations such as `2m59.56s`. Venice writes the reset of requests as a point in time
(Unix, seconds) and that of tokens as seconds. Requests and tokens have limits of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Final

from services.chat.providers.errors import seconds_of
from services.chat.providers.openai.sheets import ResetStyle

DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
UNITS: Final[Mapping[str, float]] = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
LIMITS: Final = ("requests", "tokens")


def reset_seconds(headers: Mapping[str, str], style: ResetStyle, now: float | None = None) -> float | None:
    """Return after how many seconds the limit that was hit is lifted; None if the headers do not say.

    Args:
        headers: Headers of a response with status 429, names in lower case.
        style: How they are written.
        now: The time (Unix, seconds). Default: that of the clock.
    """
    if not style:
        return None
    waits = {}
    for limit in LIMITS:
        text = headers.get(f"x-ratelimit-reset-{limit}", "").strip()
        if style == "venice" and limit == "requests":
            wait = _until(text, time.time() if now is None else now)
        else:
            wait = duration_seconds(text)
        if wait is not None:
            waits[limit] = wait
    used_up = [waits[limit] for limit in waits if headers.get(f"x-ratelimit-remaining-{limit}", "") == "0"]
    if used_up:
        return max(used_up)
    # Something is left of both, so it was too little: that happens with tokens only.
    return waits.get("tokens", waits.get("requests"))


def duration_seconds(text: str) -> float | None:
    """Return the seconds of a duration such as `1h2m3.5s`, `250ms` or `12`; None if it is none."""
    plain = seconds_of(text)
    if plain is not None:
        return plain
    found = DURATION.findall(text)
    if not found or "".join(number + unit for number, unit in found) != text:
        return None
    return float(sum(float(number) * UNITS[unit] for number, unit in found))


def _until(text: str, now: float) -> float | None:
    when = seconds_of(text)
    return None if when is None else max(0.0, when - now)
