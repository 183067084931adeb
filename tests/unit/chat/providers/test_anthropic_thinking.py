from __future__ import annotations

from typing import Any

import pytest

from services.chat.conversation import Conversation, Effort
from services.chat.providers.anthropic.thinking import is_adaptive, thinking
from services.chat.providers.failure import Failure, FailureKind

BUDGETED = "claude-sonnet-4-5"
ADAPTIVE = "claude-opus-4-7"


def conversation(**fields: Any) -> Conversation:
    """Return a conversation that is about nothing but these fields."""
    return Conversation(messages=(), **fields)


@pytest.mark.parametrize(
    ("model", "adaptive"),
    [
        ("claude-2.1", False),
        ("claude-3-opus-20240229", False),
        ("claude-3-7-sonnet-20250219", False),
        ("claude-3-7-sonnet-latest", False),
        ("claude-sonnet-4-20250514", False),
        ("claude-opus-4-1-20250805", False),
        ("claude-haiku-4-5-20251001", False),
        ("claude-sonnet-4-5@20250929", False),
        ("claude-opus-4-6", True),
        ("claude-opus-4-7", True),
        ("claude-opus-4-8-20260601", True),
        ("claude-sonnet-5", True),
        ("claude-fable-5-1", True),
        ("claude-opus-10-20290101", True),
        ("golden-model", False),
    ],
)
def test_models_think_adaptively_from_4_6_on(model: str, adaptive: bool) -> None:
    """The version is in the name; a date is not one, and a name without one belongs to another's model."""
    assert is_adaptive(model) is adaptive


def test_a_request_that_says_nothing_leaves_thinking_to_the_model() -> None:
    """The field is absent, and the answer has room for 8192 tokens."""
    plan = thinking(conversation(), BUDGETED)
    assert (plan.config, plan.effort, plan.max_tokens, plan.is_on) == (None, "", 8192, False)


@pytest.mark.parametrize("model", [BUDGETED, ADAPTIVE])
def test_no_effort_turns_thinking_off(model: str) -> None:
    """Some models think unless they are told not to; a number of tokens does not change that."""
    plan = thinking(conversation(effort="none", reasoning_tokens=2048, max_output_tokens=100), model)
    assert (plan.config, plan.max_tokens, plan.is_on) == ({"type": "disabled"}, 100, False)


@pytest.mark.parametrize(
    ("fields", "budget", "max_tokens"),
    [
        ({"effort": "low"}, 1024, 9216),
        ({"effort": "medium"}, 4096, 12288),
        ({"effort": "high"}, 16384, 24576),
        ({"effort": "high", "max_output_tokens": 20000}, 10000, 20000),
        ({"effort": "high", "max_output_tokens": 1500}, 1024, 1500),
        ({"effort": "low", "max_output_tokens": 1025}, 1024, 1025),
        ({"reasoning_tokens": 5000}, 5000, 13192),
        ({"effort": "low", "reasoning_tokens": 5000}, 5000, 13192),
        ({"reasoning_tokens": 5000, "max_output_tokens": 6000}, 5000, 6000),
        ({"reasoning_tokens": 5000, "max_output_tokens": 4000}, 3999, 4000),
    ],
)
def test_budgets_stay_below_the_longest_answer(fields: dict[str, Any], budget: int, max_tokens: int) -> None:
    """Tokens go before an effort; a limit of the caller's stands, and the default is raised."""
    plan = thinking(conversation(**fields), BUDGETED)
    assert plan.config == {"type": "enabled", "budget_tokens": budget}
    assert (plan.effort, plan.max_tokens, plan.is_on) == ("", max_tokens, True)


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_adaptive_models_are_told_the_effort(effort: Effort) -> None:
    """They refuse budgets; their limit leaves room for thoughts unless the caller has set one."""
    plan = thinking(conversation(effort=effort, reasoning_tokens=500), ADAPTIVE)
    assert plan.config == {"type": "adaptive", "display": "summarized"}
    assert (plan.effort, plan.max_tokens, plan.is_on) == (effort, 8692, True)
    assert thinking(conversation(effort=effort, max_output_tokens=7), ADAPTIVE).max_tokens == 7


@pytest.mark.parametrize("fields", [{"reasoning_tokens": 1023}, {"effort": "low", "max_output_tokens": 1024}])
def test_budgets_that_are_too_small_to_ask_for_are_refused(fields: dict[str, Any]) -> None:
    """The next target may take them; nothing is changed behind the caller's back."""
    with pytest.raises(Failure) as caught:
        thinking(conversation(**fields), BUDGETED)
    assert caught.value.kind is FailureKind.NOT_SUPPORTED
