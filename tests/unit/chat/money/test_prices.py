from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from services.chat.answer import Usage
from services.chat.money.prices import Prices
from services.config import TargetFacts
from tests.support.priced import target

PRICES = Prices()
CONFIGURED = TargetFacts(input_usd=2.0, output_usd=8.0, cached_input_usd=0.5, cache_write_usd=2.5)


def test_local_target_costs_nothing_whatever_is_known() -> None:
    """Even if its usage is not known, and whatever a server writes into its answer."""
    local = target("gpt-4o-mini", "openai", paid=False)
    assert PRICES.cost(local, Usage()) == 0
    assert PRICES.cost(local, Usage(1, 1, charged_usd=Decimal(5))) == 0


@pytest.mark.parametrize(
    ("provider", "model", "usage", "nano_usd"),
    [
        ("openai", "gpt-4o-mini", Usage(1000, 100), 1000 * 150 + 100 * 600),
        ("openai", "gpt-4o-mini", Usage(1000, 100, 400), 600 * 150 + 400 * 75 + 100 * 600),
        ("anthropic", "claude-sonnet-4-5", Usage(1000, 10), 1000 * 3000 + 10 * 15000),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(1000, 10, 200, 100),
            700 * 3000 + 200 * 300 + 100 * 3750 + 10 * 15000,
        ),
        ("huggingface_novita", "deepseek-ai/DeepSeek-R1:novita", Usage(1000, 100), 1000 * 700 + 100 * 2500),
        ("openai", "text-embedding-3-small", Usage(1000, 0), 1000 * 20),
    ],
)
def test_price_of_the_list_is_what_one_computes_by_hand(
    provider: str, model: str, usage: Usage, nano_usd: int
) -> None:
    """Cached tokens and those written to a cache are a part of the input, and priced as what they are."""
    assert PRICES.cost(target(model, provider), usage) == nano_usd


def test_configured_price_goes_before_the_list() -> None:
    """Whoever has a contract knows better."""
    chosen = target("gpt-4o-mini", "openai", CONFIGURED)
    usage = Usage(1000, 10, 200, 100)
    assert PRICES.cost(chosen, usage) == 700 * 2000 + 200 * 500 + 100 * 2500 + 10 * 8000


def test_cached_tokens_without_a_price_of_their_own_cost_what_the_others_do() -> None:
    """As the configuration says."""
    chosen = target(overrides=TargetFacts(input_usd=2.0, output_usd=8.0))
    assert PRICES.cost(chosen, Usage(1000, 10, 200, 100)) == 1000 * 2000 + 10 * 8000


def test_configured_price_of_zero_is_a_price() -> None:
    """Free tiers cost nothing, and that is known."""
    chosen = target("gpt-4o-mini", "openai", TargetFacts(input_usd=0.0, output_usd=0.0))
    assert PRICES.cost(chosen, Usage(1000, 10)) == 0


def test_what_the_provider_charged_goes_before_all_prices() -> None:
    """It is what the bill will say; counts are not needed then."""
    charged = Usage(charged_usd=Decimal("0.000123456789"))
    assert PRICES.cost(target("gpt-4o-mini", "openai", CONFIGURED), charged) == 123_457
    assert PRICES.cost(target(), Usage(5, 5, charged_usd=Decimal(0))) == 0


@pytest.mark.parametrize("charged", ["-1", "NaN", "Infinity", "1e300"])
def test_charge_that_cannot_be_is_no_cost(charged: str) -> None:
    """A provider that writes nonsense has not said what it charged."""
    assert PRICES.cost(target(), Usage(1, 1, charged_usd=Decimal(charged))) is None


@pytest.mark.parametrize(
    ("exact", "rounded"), [("0.0000000005", 0), ("0.0000000015", 2), ("0.00000000051", 1)]
)
def test_halves_of_a_billionth_are_rounded_to_the_even_one(exact: str, rounded: int) -> None:
    """Rounding happens once, at the end, and does not lean to one side."""
    assert PRICES.cost(target(), Usage(charged_usd=Decimal(exact))) == rounded


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
@pytest.mark.parametrize("overrides", [None, CONFIGURED])
def test_cost_is_unknown_where_a_count_is_missing(usage: Usage, overrides: TargetFacts | None) -> None:
    """Never guessed, and never zero."""
    assert PRICES.cost(target("gpt-4o-mini", "openai", overrides), usage) is None


@pytest.mark.parametrize("overrides", [None, CONFIGURED])
def test_cost_is_unknown_where_counts_contradict_each_other(overrides: TargetFacts | None) -> None:
    """More cached tokens than tokens: one of the two is wrong."""
    assert PRICES.cost(target("gpt-4o-mini", "openai", overrides), Usage(5, 5, 10)) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [("", "gpt-4o-mini"), ("openai", "gpt-of-next-year"), ("nobody", "m"), ("google", "gemma-3")],
)
def test_cost_is_unknown_where_the_price_is(provider: str, model: str) -> None:
    """Neither is a model for free that is listed without any price."""
    assert PRICES.cost(target(model, provider), Usage(1000, 100)) is None


async def test_price_list_is_read_off_the_event_loop() -> None:
    """It takes a fifth of a second; after that, costs are computed in place."""
    prices, chosen = Prices(), target("gpt-4o-mini", "openai")
    await prices.prepare(chosen)
    assert prices.cost(chosen, Usage(1000, 100)) == 210_000


@pytest.mark.parametrize("kind", ["target(paid=False)", "dollar_target()"])
def test_price_list_is_not_imported_before_it_is_needed(kind: str) -> None:
    """Whoever pays nothing, or says what it costs, does not wait for it and has no room to give."""
    program = f"""
import asyncio, sys
from services.chat.answer import Usage
from services.chat.money.prices import Prices
from tests.support.priced import dollar_target, target
prices = Prices()
asyncio.run(prices.prepare({kind}))
prices.cost({kind}, Usage(1, 1))
sys.exit("genai_prices" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
