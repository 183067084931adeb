"""What a call costs.

In this order: calls of local targets cost nothing; what the provider says that it charged is what it charged;
prices of the configuration; the price list of the `genai-prices` package, as it was released. The package is
never asked to update itself: nothing is fetched, and the same release always gives the same prices. Importing
it takes a fifth of a second, so that is put off until a price is needed that only it knows.
"""

from __future__ import annotations

import asyncio
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Final

from services.chat.answer import Usage
from services.chat.answering.target import Target
from services.config import TargetFacts

NANO: Final = Decimal(1_000_000_000)
MILLION: Final = Decimal(1_000_000)
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Far more digits than a price times a count has: the only rounding is to whole billionths, at the end."""

MOST_USD: Final = Decimal(1_000_000)
"""More than any call costs: who claims more, writes nonsense, and the ledger must not be spoilt by it."""

PER_PROVIDER: Final = "huggingface_"
"""Beginning of names of lists for models that are asked for as `<model>:<provider>`."""


class Prices:
    """Knows what calls cost."""

    def __init__(self) -> None:
        self._list_is_at_hand = False

    async def prepare(self, target: Target) -> None:
        """Import the price list, off the event loop, if costs of `target` need it. Call before `cost`."""
        if not self._list_is_at_hand and target.is_paid and _list_of(target):
            await asyncio.to_thread(_listed, "openai", "", Usage(0, 0))
            self._list_is_at_hand = True

    def cost(self, target: Target, usage: Usage) -> int | None:
        """Return what a call costs, in billionths of a US dollar.

        Args:
            target: Who was asked.
            usage: What was used. Cached tokens and those written to a cache are part of its input tokens.

        Returns:
            The cost; None if the price is not known, or a count that it depends on.
        """
        if not target.is_paid:
            return 0
        with localcontext(EXACT):
            usd = usage.charged_usd if usage.charged_usd is not None else _calculated(target, usage)
            if usd is None or not usd.is_finite() or not 0 <= usd <= MOST_USD:
                return None
            return int((usd * NANO).to_integral_value())


def _calculated(target: Target, usage: Usage) -> Decimal | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    if target.overrides.input_usd is not None:
        return _configured(target.overrides, usage.input_tokens, usage.output_tokens, usage)
    if not (provider := _list_of(target)):
        return None
    model = target.upstream_model
    return _listed(provider, model.partition(":")[0] if provider.startswith(PER_PROVIDER) else model, usage)


def _list_of(target: Target) -> str:
    """Return what the price list calls the provider, empty if the list is not asked."""
    if target.overrides.input_usd is not None:
        return ""
    return target.provider.price_provider(target.upstream_model)


def _configured(prices: TargetFacts, read: int, written: int, usage: Usage) -> Decimal | None:
    cached, kept = usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0
    fresh = read - cached - kept
    if prices.input_usd is None or prices.output_usd is None or fresh < 0:
        return None
    counts = (
        (fresh, prices.input_usd),
        (cached, prices.input_usd if prices.cached_input_usd is None else prices.cached_input_usd),
        (kept, prices.input_usd if prices.cache_write_usd is None else prices.cache_write_usd),
        (written, prices.output_usd),
    )
    return sum((count * Decimal(str(usd)) for count, usd in counts), Decimal(0)) / MILLION


def _listed(provider: str, model: str, usage: Usage) -> Decimal | None:
    """Return the price by the list; None if it does not have the model, or no price for its input.

    Models that are listed without any price are not for free: some are priced by something else than tokens.
    """
    from genai_prices import Usage as Counts  # takes a fifth of a second, see above
    from genai_prices import calc_price

    counts = Counts(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_input_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
    try:
        found = calc_price(counts, model, provider_id=provider)
    except (LookupError, ValueError):  # not in the list; parts that are larger than the whole
        return None
    return found.total_price if found.model_price.input_mtok is not None else None
