"""What a reader of the demo is told who has nobody to chat with yet."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from inglenook.common.v1 import ModelInfo, TargetInfo, TargetState

from services.chassis.errors import Reason
from services.cli.client import CallFailed
from services.config import Configuration, OllamaProvider

UPSTREAM: Final = "UPSTREAM_"
THEIRS: Final = frozenset({Reason.BUDGET_EXHAUSTED, Reason.CONTENT_REJECTED})
"""Reasons that speak of a model and whoever runs it, besides those that begin with `UPSTREAM`; the others
speak of the cluster. A deadline speaks of them, too, and has a reason only if it passed over there."""
DEADLINE: Final = "DEADLINE_EXCEEDED"
PULL: Final = "ollama pull"
"""Stands in what is said of a model that an Ollama does not have."""


def is_theirs(error: CallFailed) -> bool:
    """Say whether a call failed because of a model, or whoever runs it, and not because of the cluster."""
    return error.reason.startswith(UPSTREAM) or error.reason in THEIRS or error.code == DEADLINE


def what_failed(error: CallFailed, timeout_seconds: float) -> str:
    """Return one line about a model that did not answer within a deadline, or at all."""
    if error.code == DEADLINE:
        return (
            f"not done within {timeout_seconds:g} s, called off; a model that is being loaded is "
            "faster next time"
        )
    return f"no answer: {error.message}"


def what_is_missing(configuration: Configuration, models: Sequence[ModelInfo]) -> str:
    """Return one line about why no chat model can be called, and what would help.

    Args:
        configuration: Says where an Ollama should be.
        models: The models that cannot be called. It is about the first.
    """
    if not models:
        return "there is no chat model"
    first = models[0]
    if not first.target_infos:
        return f"{first.name}: {first.state_detail}"
    for target in first.target_infos:
        section = configuration.all_providers().get(target.provider)
        if isinstance(section, OllamaProvider) and target.state == TargetState.TARGET_STATE_UNREACHABLE:
            return _about_ollama(target, section)
    return _about(first.target_infos[0])


def _about_ollama(target: TargetInfo, section: OllamaProvider) -> str:
    if PULL in target.state_detail:
        return _about(target)
    pull = f"{PULL} {shlex.quote(target.upstream_model)}"
    return f"no Ollama answers at {section.url}; install it from ollama.com, then: {pull}"


def _about(target: TargetInfo) -> str:
    return f"{target.provider}/{target.upstream_model}: {target.state_detail}"
