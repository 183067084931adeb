"""Requests to Anthropic's API, looked at by the official client's types before a test sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from pydantic import TypeAdapter

from services.chat.conversation import Conversation, Message, Text, Tool
from services.chat.providers.anthropic.dialect import AnthropicDialect
from services.chat.providers.dialect import Ask
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure

PROVIDER: Final = "claude"
BUDGETED: Final = "claude-sonnet-4-5"
"""A model that takes a budget for its thoughts."""
ADAPTIVE: Final = "claude-opus-4-7"
"""A model that takes an effort, and no word about sampling."""
OLDER: Final = ("temperature", "top_p", "top_k")
"""Fields that the official client no longer has: its newest models refuse them."""
HELLO: Final = Message("user", (Text("Hello"),))
WEATHER: Final = Tool(
    "get_weather", "Look it up.", {"type": "object", "properties": {"city": {"type": "string"}}}
)
NOW: Final = Tool("now", "", {"type": "object"})


@cache
def _params() -> TypeAdapter[Any]:
    return TypeAdapter(MessageCreateParamsStreaming)


def _drawn(value: Any) -> Any:
    """Return a validated value with its lazy parts drawn out, which is when they are validated."""
    if isinstance(value, Mapping):
        return {name: _drawn(one) for name, one in value.items()}
    if isinstance(value, list | tuple | Iterator):
        return [_drawn(one) for one in value]
    return value


def encoded(*messages: Message, model: str = BUDGETED, facts: Facts = UNKNOWN, **fields: Any) -> Any:
    """Return the body of the request for a conversation, HELLO if there are no messages.

    Validation drops what the official types do not know, so equality says that there is nothing of the kind
    but what only the older models take.
    """
    conversation = Conversation(messages=messages or (HELLO,), **fields)
    outgoing = AnthropicDialect().encode(Ask(conversation, PROVIDER, model, facts))
    assert (outgoing.path, outgoing.headers) == ("/v1/messages", {})
    assert outgoing.body is not None
    known = {name: value for name, value in outgoing.body.items() if name not in OLDER}
    assert _drawn(_params().validate_python(outgoing.body)) == known
    return outgoing.body


def refusal(*messages: Message, **fields: Any) -> Failure:
    """Return why a request is refused before it is sent."""
    with pytest.raises(Failure) as caught:
        encoded(*messages, **fields)
    return caught.value
