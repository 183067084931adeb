"""How a model thinks: token budgets up to Claude 4.5, adaptively from 4.6 on.

Each generation refuses what the other one needs, so the model's name has to decide. The generation with
budgets is closed: names that come from now on are adaptive. A name that says nothing of a version belongs to
somebody else's server that speaks this API, and these know budgets. See
https://platform.claude.com/docs/en/build-with-claude/thinking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.chat.conversation import Conversation
from services.chat.providers.failure import Failure, FailureKind

DEFAULT_MAX_TOKENS: Final = 8192
"""Room for the answer when nobody says: the API wants a number, and every model can do this one."""
BUDGETS: Final[Mapping[str, int]] = {"low": 1024, "medium": 4096, "high": 16384}
"""Tokens of thought by effort."""
LEAST_BUDGET: Final = 1024
"""The API takes no smaller one."""
FIRST_ADAPTIVE: Final = (4, 6)
FIRST_WITHOUT_SAMPLING: Final = (4, 7)
VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
"""`claude-opus-4-7`, `claude-3-7-sonnet-20250219`; what follows with more digits is a date."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a request says about thinking.

    Attributes:
        max_tokens: Longest answer, thoughts included.
        config: Value of `thinking`; None leaves it to the model.
        effort: Value of `output_config.effort`; empty leaves it to the model.
    """

    max_tokens: int
    config: Mapping[str, Any] | None = None
    effort: str = ""

    @property
    def is_on(self) -> bool:
        """Whether the request itself turns thinking on, which rules out some other fields."""
        return self.config is not None and self.config["type"] != "disabled"


def is_adaptive(upstream_model: str) -> bool:
    """Whether a model takes adaptive thinking and, if it is not one of the first such, nothing else."""
    return _version(upstream_model) >= FIRST_ADAPTIVE


def can_be_sampled(upstream_model: str) -> bool:
    """Whether a model lets callers say how tokens are drawn; the newer ones refuse any word about it."""
    return _version(upstream_model) < FIRST_WITHOUT_SAMPLING


def thinking(conversation: Conversation, upstream_model: str) -> Thinking:
    """Return what to say about thinking.

    A number of tokens goes before an effort where there are budgets. Adaptive models count no thoughts: there
    only the effort is said. If the caller set no limit, the default is raised by what the thoughts may take.

    Raises:
        Failure: NOT_SUPPORTED: so few tokens cannot be asked for.
    """
    effort, tokens, limit = conversation.effort, conversation.reasoning_tokens, conversation.max_output_tokens
    if effort == "none":
        return Thinking(limit or DEFAULT_MAX_TOKENS, {"type": "disabled"})
    if effort is None and tokens is None:
        return Thinking(limit or DEFAULT_MAX_TOKENS)
    wanted = BUDGETS[effort or "medium"] if tokens is None else tokens
    if is_adaptive(upstream_model):
        # Newer models keep their thoughts to themselves unless asked for the summary.
        config = {"type": "adaptive", "display": "summarized"}
        return Thinking(limit or DEFAULT_MAX_TOKENS + wanted, config, effort or "")
    budget = _budget(wanted, limit, exact=tokens is not None)
    return Thinking(limit or DEFAULT_MAX_TOKENS + budget, {"type": "enabled", "budget_tokens": budget})


def _version(upstream_model: str) -> tuple[int, int]:
    """Return the version in a model's name; zeros if there is none."""
    version = VERSION.search(upstream_model)
    return (0, 0) if version is None else (int(version[1]), int(version[2] or 0))


def _budget(wanted: int, limit: int | None, *, exact: bool) -> int:
    """Return the budget, which must be below the limit; an effort leaves half of it for the answer."""
    if wanted < LEAST_BUDGET:
        message = f"reasoning.max_tokens must be {LEAST_BUDGET} or more for this model"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    if limit is None:
        return wanted
    if limit <= LEAST_BUDGET:
        message = f"max_output_tokens must be above {LEAST_BUDGET} for this model to think"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    return min(wanted, limit - 1 if exact else max(LEAST_BUDGET, limit // 2))
