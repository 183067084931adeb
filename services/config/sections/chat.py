"""`[chat]`, `[paid]`, `[targets.<target>]`: how chat models are answered for, and what they may cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from services.config.sections.base import Refused, Seconds, Section

UsdPerMillion = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""A price in US dollars per million tokens."""


class Chat(Section):
    """How the chat service treats the targets of chat models."""

    max_attempts: Annotated[int, Field(ge=1, le=32)] = 6
    """Most attempts for one call, over all of its targets."""
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often the same target is asked again, after failures that may pass by themselves. Then the next
    target is asked."""
    backoff_seconds: Annotated[Seconds, Field(gt=0)] = 0.5
    """Longest wait before the first retry; doubled for each further one up to 8 s. The actual wait is drawn
    evenly between zero and that, so that callers do not come back all at once."""
    max_wait_seconds: Seconds = 10.0
    """Longest time that a provider may ask to be left alone and still be waited for. When it asks for
    more, the next target is asked at once, and without one the call is answered with the time to wait."""
    ejection_failures: Annotated[int, Field(ge=1, le=1000)] = 3
    """After so many failures in a row, a target is ejected: calls go to the other targets of a model."""
    ejection_seconds: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long a target stays ejected the first time. Then one call at a time probes it; each probe that
    fails doubles the time, up to `max_ejection_seconds`."""
    max_ejection_seconds: Annotated[Seconds, Field(gt=0, validate_default=True)] = 120.0
    """Longest time between two probes of an ejected target. At least `ejection_seconds`."""
    max_answer_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024 * 1024)] = 16 * 1024 * 1024
    """Longest answer that is put together here, in bytes: by Complete, and where a response format is
    checked before anything is passed on. A longer one fails."""
    max_repairs: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a model is shown why its answer does not fit the response format and asked again."""

    @field_validator("max_ejection_seconds")
    @classmethod
    def check_longest(cls, longest: float, info: ValidationInfo) -> float:
        """Refuse a longest time that is shorter than the first."""
        first = info.data.get("ejection_seconds", 0.0)  # absent when it has a problem of its own
        if longest < first:
            message = f"is {longest:g}, less than ejection_seconds, which is {first:g}"
            raise Refused(message, f"set it to {first:g} or more, or ejection_seconds to {longest:g} or less")
        return longest


class Paid(Section):
    """Money. As long as `enabled` is false, nothing outside the tier `local` is ever called."""

    enabled: bool = False
    """Allow providers whose tier is not `local`, and cloud models of an Ollama."""
    monthly_budget_usd: Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)] | None = None
    """Most to spend in one calendar month (UTC), in US dollars. Calls that could exceed it are refused with
    BUDGET_EXHAUSTED. Targets whose price is not known are then not called. Default: no limit."""
    ledger: str | None = None
    """File in which spending is kept, so that a restart forgets nothing; relative paths start at the
    configuration file. Processes on one machine may share it. Default: `spending.sqlite3` in the state
    folder, see above."""


class TargetFacts(Section):
    """What is known of one target, `provider/upstream_model`, and not found out from its provider.

    What is set here goes before what the provider and the built-in price list say.
    """

    context_length: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most tokens of a conversation, answer included. Default: what its provider says, if it says
    something; so for the four below."""
    tools: bool | None = None
    """It can call tools. Default: as above."""
    images: bool | None = None
    """It can see images. Default: as above."""
    reasoning: bool | None = None
    """It can think before it answers. Default: as above."""
    json_schema: bool | None = None
    """It can be held to a JSON schema. Where not, the schema goes into the instructions. What comes back is
    checked either way. Default: as above."""
    input_usd: UsdPerMillion | None = None
    """Price of input tokens, US dollars per million. Needs `output_usd`. Default: that of the built-in price
    list; a target that is not in it has no known price."""
    output_usd: Annotated[UsdPerMillion | None, Field(validate_default=True)] = None
    """Price of output tokens, US dollars per million. Needs `input_usd`. Default: as above."""
    cached_input_usd: UsdPerMillion | None = None
    """Price of input tokens read from the provider's cache. Needs `input_usd`. Default: the same as
    `input_usd`."""
    cache_write_usd: UsdPerMillion | None = None
    """Price of input tokens written to the provider's cache. Needs `input_usd`. Default: the same as
    `input_usd`."""

    @field_validator("output_usd")
    @classmethod
    def check_price(cls, output_usd: float | None, info: ValidationInfo) -> float | None:
        """Refuse half a price: the other half would be taken from somewhere else, or for nothing."""
        if "input_usd" in info.data and (info.data["input_usd"] is None) != (output_usd is None):
            message = "must be set if input_usd is, and only then: a price is both"
            raise Refused(message, "set both, or remove both")
        return output_usd

    @field_validator("cached_input_usd", "cache_write_usd")
    @classmethod
    def check_cache_price(cls, price: float | None, info: ValidationInfo) -> float | None:
        """Refuse a price of cached tokens where the price of the others is not set."""
        if price is not None and info.data.get("input_usd", price) is None:
            message = "is set without input_usd"
            raise Refused(message, "set input_usd and output_usd, too, or remove it")
        return price
