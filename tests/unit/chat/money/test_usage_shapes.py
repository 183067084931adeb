"""What an answer costs, by the usage that its provider tells in one shape or another."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import pytest

from services.chat.answer import Piece, UsageReport
from services.chat.money.prices import Prices
from services.chat.providers.anthropic.dialect import AnthropicDialect
from services.chat.providers.dialect import Dialect
from services.chat.providers.gemini.dialect import GeminiDialect
from services.chat.providers.ollama.dialect import OllamaDialect
from services.chat.providers.openai.dialect import OpenAiDialect
from services.chat.providers.openai.sheets import COMPATIBLE, OPENAI, SHEETS
from services.config import TargetFacts
from tests.support.priced import target
from tests.support.transcripts import FOLDER, Transcript, pieces_of

FRESH, CACHED, KEPT, WRITTEN = 2000, 500, 2500, 8000
"""Billionths of a US dollar per token, each of another kind."""
PRICED: Final = target(
    overrides=TargetFacts(input_usd=2.0, output_usd=8.0, cached_input_usd=0.5, cache_write_usd=2.5)
)
PRICES: Final = Prices()


@dataclass(frozen=True)
class Shape:
    """One way to tell usage.

    Attributes:
        name: A transcript that has it.
        dialect: What reads the transcript.
        nano_usd: What the answer costs, computed by hand; None where it cannot be known.
    """

    name: str
    dialect: Dialect
    nano_usd: int | None


SHAPES: Final = (
    # Beside empty choices, after everything.
    Shape("openai/text", OpenAiDialect(OPENAI), 9 * FRESH + 4 * WRITTEN),
    # Cached and reasoning tokens are parts of the totals.
    Shape("openai/reasoning", OpenAiDialect(OPENAI), 128 * FRESH + 1920 * CACHED + 90 * WRITTEN),
    # On every chunk, growing.
    Shape("compatible/vllm_usage_on_every_chunk", OpenAiDialect(COMPATIBLE), 7 * FRESH + 3 * WRITTEN),
    # In a place of its own.
    Shape("compatible/groq_reasoning", OpenAiDialect(SHEETS["groq"]), 20 * FRESH + 6 * WRITTEN),
    # Within the choice, with another name for cached tokens; and with a third.
    Shape(
        "compatible/moonshot_tool_call",
        OpenAiDialect(SHEETS["moonshot"]),
        15 * FRESH + 16 * CACHED + 9 * WRITTEN,
    ),
    Shape(
        "compatible/calls_all_at_index_zero",
        OpenAiDialect(COMPATIBLE),
        5 * FRESH + 4 * CACHED + 8 * WRITTEN,
    ),
    # With what was charged, which goes before all prices.
    Shape("compatible/openrouter_text", OpenAiDialect(SHEETS["openrouter"]), 140_000),
    # Told twice and more, the last total holds; what is cached is told beside the input.
    Shape("anthropic/usage_cumulative", AnthropicDialect(), 40 * FRESH + 7 * KEPT + 60 * WRITTEN),
    Shape(
        "anthropic/usage_cached",
        AnthropicDialect(),
        21 * FRESH + 2000 * CACHED + 100 * KEPT + 5 * WRITTEN,
    ),
    # Thoughts and what tools read are told beside the rest.
    Shape("gemini/usage_thoughts", GeminiDialect(), 152 * FRESH + 768 * CACHED + 64 * WRITTEN),
    Shape("gemini/usage_missing", GeminiDialect(), None),
    Shape("ollama/usage_full", OllamaDialect(), 26 * FRESH + 12 * WRITTEN),
    # A count that is left out is not zero.
    Shape("ollama/usage_without_cached_prompt", OllamaDialect(), None),
)


def cost_of(pieces: list[Piece]) -> int | None:
    """Return what an answer costs by the last total that it tells."""
    totals = [piece.usage for piece in pieces if isinstance(piece, UsageReport)]
    return PRICES.cost(PRICED, totals[-1]) if totals else None


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_streamed_answer_costs_what_the_whole_one_does(shape: Shape) -> None:
    """To the billionth of a dollar, and what one computes by hand."""
    transcript = Transcript(FOLDER / shape.name)
    assert transcript.whole is not None
    streamed, failure = pieces_of(shape.dialect, [transcript.stream])
    whole, other = pieces_of(shape.dialect, [transcript.whole], streamed=False)
    assert (failure, other) == (None, None)
    assert (cost_of(streamed), cost_of(whole)) == (shape.nano_usd, shape.nano_usd)


def test_what_was_charged_goes_into_cost_without_rounding_on_the_way() -> None:
    """A float of JSON is read as it was written."""
    transcript = Transcript(FOLDER / "compatible/openrouter_text")
    pieces, _ = pieces_of(OpenAiDialect(SHEETS["openrouter"]), [transcript.stream])
    charged = [piece.usage.charged_usd for piece in pieces if isinstance(piece, UsageReport)]
    assert charged[-1] == Decimal("0.00014")
