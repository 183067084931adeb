"""The words for errors, and what they mean.

Codes and types of OpenAI, OpenRouter (`metadata.error_type`), Groq, Moonshot, Venice, Together, Hugging
Face's router, vLLM and llama.cpp, in lower case. What means something else at one service is on its sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.chat.providers.failure import FailureKind

_WORDS: Final[Mapping[FailureKind, str]] = {
    FailureKind.CONTEXT_LENGTH: """
        context_length_exceeded context_length_error exceed_context_size_error string_above_max_length
        string_too_long
    """,
    FailureKind.QUOTA: """
        insufficient_quota billing_hard_limit_reached billing_not_active quota_exceeded payment_required
        exceeded_current_quota_error insufficient_balance insufficient_credits token_limit_exceeded
    """,
    FailureKind.CONTENT_FILTERED: """
        content_policy_violation content_filter content_policy refusal moderation_error
        responsibleaipolicyviolation safety_violation
    """,
    FailureKind.MODEL_MISSING: """
        model_not_found model_not_available model_not_supported model_not_found_error model_decommissioned
        resource_not_found_error
    """,
    FailureKind.NOT_SUPPORTED: """
        unsupported_parameter unsupported_value not_supported_error unsupported_image_format
    """,
    FailureKind.AUTHENTICATION: """
        invalid_api_key authentication authentication_failed invalid_authentication_error
        incorrect_api_key_error permission_denied permission_denied_error account_deactivated
    """,
    FailureKind.RATE_LIMITED: """
        rate_limit_exceeded rate_limit_reached_error rate_limit_error
    """,
    FailureKind.UNAVAILABLE: """
        server_error server_is_overloaded slow_down engine_overloaded_error model_overloaded
        provider_overloaded provider_unavailable overloaded_error capacity_exceeded unavailable_error
        inference_failed timeout server
    """,
    # The model spoke against what it was asked for; asked again, it may not.
    FailureKind.MALFORMED: """
        tool_use_failed json_validate_failed
    """,
}

CODES: Final[Mapping[str, FailureKind]] = {
    word: kind for kind, words in _WORDS.items() for word in words.split()
}

MESSAGES: Final[tuple[tuple[str, FailureKind], ...]] = (
    (
        r"context (length|window|size)|maximum (prompt|input) length|max_new_tokens`? must be"
        r"|(prompt|input) is too long|tokens exceeds? (the )?(maximum|limit)",
        FailureKind.CONTEXT_LENGTH,
    ),
    (r"no endpoints found that support|incompatible with thinking", FailureKind.NOT_SUPPORTED),
    (r"does not support (tool|image|response|reasoning|thinking)", FailureKind.NOT_SUPPORTED),
    (
        r"not a valid model id|no such model|model .{1,200} (does not exist|not found)",
        FailureKind.MODEL_MISSING,
    ),
)
"""How services without a code say it, the first match counts."""
