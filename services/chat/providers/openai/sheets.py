"""What is peculiar to each service that speaks Chat Completions, as data.

Taken from the services' own documentation, read in 2026. A field that a service does not document is left out
of requests: some refuse what they do not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import FailureKind

ReasoningStyle = Literal["effort", "openrouter", "groq", "moonshot", "venice", "together"]
ResetStyle = Literal["", "durations", "venice"]
EmbeddingStyle = Literal["openai", "feature-extraction", "none"]

NEVER: Final = re.compile(r"(?!)")
"""Matches no model."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """How one service differs from the others.

    Attributes:
        url: Its public address, up to what comes before the paths; empty: the configuration says.
        version_path: What stands between that address and `/chat/completions`, where the service has other
            paths that are needed; it may be at the end of a configured address or not.
        prices: What the price list calls it; empty if it is not on it.
        system_role: The role of instructions.
        max_tokens: The field for the longest answer.
        parameters: The optional fields that it knows, out of `OPTIONAL`.
        fixed_sampling: Models that refuse `SAMPLING`.
        fixed_without_thinking: They do so even when they are told not to think.
        reasoning: How it is told how hard to think.
        replays_reasoning: It wants to have back what its models thought before they called tools.
        empty_content: Content of an assistant's turn that has tool calls and no text.
        streams_formats: It streams answers that have a response format, and mixes those with tools.
        extras: Fields that every request has.
        charges_usd: `usage.cost` is what it charged, in US dollars.
        resets: How its `x-ratelimit-reset-*` headers are written; empty if they are not used.
        statuses: What its HTTP statuses mean where they mean something else than usual.
        codes: What its codes mean that no other service has, or that mean something else there.
        embeddings: How embeddings are asked for.
        known: What is known of models whose names match, the first match counts.
    """

    url: str = ""
    version_path: str = ""
    prices: str = ""
    system_role: Literal["system", "developer"] = "system"
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    parameters: frozenset[str] = frozenset()
    fixed_sampling: re.Pattern[str] = NEVER
    fixed_without_thinking: bool = False
    reasoning: ReasoningStyle = "effort"
    replays_reasoning: bool = False
    empty_content: str | None = None
    streams_formats: bool = True
    extras: Mapping[str, Any] = field(default_factory=dict)
    charges_usd: bool = False
    resets: ResetStyle = ""
    statuses: Mapping[int, FailureKind] = field(default_factory=dict)
    codes: Mapping[str, FailureKind] = field(default_factory=dict)
    embeddings: EmbeddingStyle = "openai"
    known: tuple[tuple[re.Pattern[str], Facts], ...] = ()

    def facts(self, upstream_model: str) -> Facts:
        """Return what is known of a model."""
        return next((facts for pattern, facts in self.known if pattern.fullmatch(upstream_model)), UNKNOWN)


SAMPLING: Final = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty"})
OPTIONAL: Final = SAMPLING | {"stop", "top_k", "seed", "parallel_tool_calls"}

OPENAI: Final = Sheet(
    url="https://api.openai.com/v1",
    prices="openai",
    system_role="developer",
    max_tokens="max_completion_tokens",
    parameters=SAMPLING | {"stop", "seed", "parallel_tool_calls"},
    fixed_sampling=re.compile(r"(o\d|gpt-[5-9])(?!.*chat).*"),
    resets="durations",
    codes={"invalid_prompt": FailureKind.CONTENT_FILTERED},
    known=(
        (re.compile(r"gpt-3\.5.*|gpt-4|gpt-4-.*"), Facts(reasoning=False, json_schema=False)),
        (re.compile(r"gpt-4(o|\.1).*"), Facts(reasoning=False)),
    ),
)
OPENROUTER: Final = Sheet(
    url="https://openrouter.ai/api/v1",
    prices="openrouter",
    parameters=OPTIONAL,
    reasoning="openrouter",
    charges_usd=True,
)
GROQ: Final = Sheet(
    url="https://api.groq.com/openai/v1",
    prices="groq",
    max_tokens="max_completion_tokens",
    parameters=frozenset({"temperature", "top_p", "stop", "seed", "parallel_tool_calls"}),
    reasoning="groq",
    streams_formats=False,
    resets="durations",
    statuses={499: FailureKind.UNAVAILABLE},  # "cancelled": not by us, then we would not read it
    embeddings="none",
    known=(
        (re.compile(r"llama-3.*"), Facts(reasoning=False, json_schema=False)),
        (re.compile(r"(meta-llama/llama-4|moonshotai/kimi-k2).*"), Facts(reasoning=False, json_schema=True)),
        (re.compile(r"openai/gpt-oss.*"), Facts(reasoning=True, json_schema=True, images=False)),
    ),
)
MOONSHOT: Final = Sheet(
    url="https://api.moonshot.ai/v1",
    prices="moonshotai",
    max_tokens="max_completion_tokens",
    parameters=SAMPLING | {"stop"},
    fixed_sampling=re.compile(r"kimi-.*"),
    fixed_without_thinking=True,
    reasoning="moonshot",
    replays_reasoning=True,
    embeddings="none",
)
VENICE: Final = Sheet(
    url="https://api.venice.ai/api/v1",
    max_tokens="max_completion_tokens",
    parameters=OPTIONAL,
    reasoning="venice",
    # Otherwise it puts instructions of its own before those of the caller.
    extras={"venice_parameters": {"include_venice_system_prompt": False}},
    resets="venice",
    statuses={422: FailureKind.CONTENT_FILTERED},
)
TOGETHER: Final = Sheet(
    url="https://api.together.xyz/v1",
    prices="together",
    parameters=SAMPLING | {"stop", "top_k", "seed"},
    reasoning="together",
)
CLOUDFLARE: Final = Sheet(
    prices="cloudflare",
    parameters=SAMPLING | {"stop", "top_k", "seed"},
    empty_content="",  # its schema has no null there
    # https://developers.cloudflare.com/workers-ai/platform/errors/
    codes={
        "3036": FailureKind.QUOTA,  # of the day
        "3040": FailureKind.UNAVAILABLE,
        "3042": FailureKind.MODEL_MISSING,
        "5007": FailureKind.MODEL_MISSING,
    },
)
HUGGINGFACE: Final = Sheet(
    url="https://router.huggingface.co",
    version_path="/v1",
    prices="huggingface_",
    parameters=SAMPLING | {"stop", "seed"},
    embeddings="feature-extraction",
)
COMPATIBLE: Final = Sheet(parameters=OPTIONAL)

SHEETS: Final[Mapping[str, Sheet]] = {
    "openai": OPENAI,
    "openrouter": OPENROUTER,
    "groq": GROQ,
    "moonshot": MOONSHOT,
    "venice": VENICE,
    "together": TOGETHER,
    "cloudflare": CLOUDFLARE,
    "huggingface": HUGGINGFACE,
    "openai-compatible": COMPATIBLE,
}
"""By the type that the configuration gives a provider."""
