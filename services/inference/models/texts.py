"""What is wrong with texts by themselves, before they are tokenized."""

from __future__ import annotations

from collections.abc import Sequence

from services.config import Limits
from services.inference.errors import InvalidInput

Violation = tuple[str, str]
"""Path of a parameter, as in `inputs[3]`, and what is wrong with it."""


def check_count(parameter: str, count: int, what: str, limits: Limits) -> list[Violation]:
    """Return what is wrong with how many texts there are: none, or too many."""
    if not count:
        return [(parameter, f"must hold at least 1 {what}")]
    if count > limits.max_client_batch_size:
        return [(parameter, f"has {count} {what}s, {limits.max_client_batch_size} at most per call")]
    return []


def require_texts(parameter: str, texts: Sequence[str], limits: Limits) -> None:
    """Refuse a list of texts that is empty or too long, or that holds one that is empty or far too long.

    Raises:
        InvalidInput: There is something wrong with it; all of it is told.
    """
    wrong = check_count(parameter, len(texts), "text", limits) or check_texts(parameter, texts, limits)
    if wrong:
        raise InvalidInput(wrong)


def check_texts(parameter: str, texts: Sequence[str], limits: Limits) -> list[Violation]:
    """Return what is wrong with texts by themselves: empty ones, and ones that are far too long."""
    wrong = []
    for index, text in enumerate(texts):
        if problem := problem_of(text, limits):
            wrong.append((f"{parameter}[{index}]", problem))
    return wrong


def problem_of(text: str, limits: Limits) -> str:
    """Return what is wrong with one text; empty if nothing is."""
    if not text or text.isspace():
        return "must not be empty"
    if len(text) > limits.max_input_characters:
        return f"has {len(text)} characters, {limits.max_input_characters} at most"
    return ""
