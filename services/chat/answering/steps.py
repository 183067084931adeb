"""What a caller is told on the way to an answer: who answers, the pieces, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from services.chat.answer import Content, FinishReason, Usage, UsageReport


@dataclass(frozen=True, slots=True)
class Started:
    """This target answers. First; again when another target goes on with the answer, word for word."""

    provider: str
    upstream_model: str


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """One try at one target.

    Attributes:
        provider: Who was asked.
        upstream_model: The model that was asked for.
        reason: Why it failed, a value of `chassis.errors.Reason`; empty if it answered.
        status: HTTP status; None when no response came, or it answered.
        seconds: How long it took.
        usage: Tokens that it used, as far as the provider said.
        cost_nano_usd: What it cost, in billionths of a US dollar; None when unknown.
    """

    provider: str
    upstream_model: str
    reason: str
    status: int | None
    seconds: float
    usage: Usage
    cost_nano_usd: int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete. Last, once.

    Attributes:
        reason: Why it ended.
        usage: Tokens of the attempt that answered.
        cost_nano_usd: What that attempt cost; 0 for local targets, None when unknown.
        attempts: Every attempt in order; the last one answered.
        total_seconds: From the beginning of the call.
        first_token_seconds: From the beginning of the call to the first content; None without content.
        upstream_seconds: The part of the total that was spent waiting for providers.
    """

    reason: FinishReason
    usage: Usage
    cost_nano_usd: int | None
    attempts: Sequence[AttemptReport]
    total_seconds: float
    first_token_seconds: float | None
    upstream_seconds: float


Step: TypeAlias = Started | Content | UsageReport | Finished
