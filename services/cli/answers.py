"""How answers are told: as one line about how they came, and as a document."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message
from inglenook.embed.v1 import EmbedResponse
from inglenook.nli.v1 import ClassifyResponse, InferResponse
from inglenook.rerank.v1 import RerankResponse
from rich.markup import escape

from services.cli.client import Answer
from services.cli.console import as_dict
from services.cli.words import seconds_of

AnyMessage = TypeVar("AnyMessage", bound=Message)
Computed = TypeVar("Computed", EmbedResponse, RerankResponse, InferResponse, ClassifyResponse)
"""A response that says what it took."""


def document(answer: Answer[AnyMessage]) -> dict[str, Any]:
    """Return an answer in the JSON mapping of its message, and who gave it."""
    return {**as_dict(answer.message), "servedBy": answer.served_by}


def summary(answer: Answer[Computed]) -> str:
    """Return one line about how an answer came."""
    response = answer.message
    spent = response.timings
    parts = [
        f"{name} {seconds_of(duration) * 1000:.1f} ms"
        for name, duration in (
            ("tokenize", spent.tokenize_time),
            ("queue", spent.queue_time),
            ("inference", spent.inference_time),
        )
    ]
    return f"{came(answer, response.model, response.usage.input_tokens)} ({', '.join(parts)})"


def came(answer: Answer[AnyMessage], model: str, tokens: int) -> str:
    """Return which model read how many tokens, and who answered how soon."""
    return (
        f"{escape(model)}, {tokens} tokens, answered by {escape(answer.served_by)} "
        f"in {answer.seconds * 1000:.1f} ms"
    )
