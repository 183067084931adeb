"""Tokens, in every place where services put them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from services.chat.answer import Usage


def reported(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the usage that a chunk or an answer tells, if it does.

    Most services put it beside the choices, with or without choices; Groq also into `x_groq`, and Moonshot
    into the choice.
    """
    places = [chunk, chunk.get("x_groq")]
    choices = chunk.get("choices")
    places += choices if isinstance(choices, list) else []
    told = (place.get("usage") for place in places if isinstance(place, dict))
    return next((usage for usage in told if isinstance(usage, dict)), None)


def usage_of(wire: Mapping[str, Any], *, charges_usd: bool) -> Usage:
    """Return what a usage object says. Cached and reasoning tokens are parts of the totals there.

    Args:
        wire: The object.
        charges_usd: Its `cost` is money charged, in US dollars.
    """
    read = _object(wire.get("prompt_tokens_details"))
    written = _object(wire.get("completion_tokens_details"))
    cached = _count(read.get("cached_tokens"))
    if cached is None:  # Moonshot and Together; DeepSeek
        cached = _count(wire.get("cached_tokens", wire.get("prompt_cache_hit_tokens")))
    reasoning = _count(written.get("reasoning_tokens"))
    return Usage(
        input_tokens=_count(wire.get("prompt_tokens")),
        output_tokens=_count(wire.get("completion_tokens")),
        cached_input_tokens=cached,
        cache_write_input_tokens=_count(read.get("cache_write_tokens")),
        reasoning_tokens=_count(wire.get("reasoning_tokens")) if reasoning is None else reasoning,
        charged_usd=_charged(wire) if charges_usd else None,
    )


def _charged(wire: Mapping[str, Any]) -> Decimal | None:
    """Return what OpenRouter charged. With a key of one's own, the provider behind it charges as well."""
    cost = _money(wire.get("cost"))
    if cost is None or wire.get("is_byok") is not True:
        return cost
    upstream = _money(_object(wire.get("cost_details")).get("upstream_inference_cost"))
    return None if upstream is None else cost + upstream


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _money(value: Any) -> Decimal | None:
    """Return an amount as it was written: the shortest text of a float is that of the JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and amount >= 0 else None
