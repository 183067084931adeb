"""How many tokens a call may use: an upper bound, to be put aside before it is made.

The bound on input is never too low for text, because no tokenizer makes more tokens of a text than it has
bytes. It is about four times what English text needs; the difference is given back as soon as the call has
ended, so it matters only when a budget is all but used up, or many calls run at a time.
"""

from __future__ import annotations

import json
from typing import Final

from services.chat.answer import Usage
from services.chat.conversation import Conversation, Image, Part, Reasoning, Signature, Text, ToolCall

TOKENS_PER_IMAGE: Final = 50_000
"""More than the dearest way of counting makes of the largest picture: some small models count it as 48169."""
TOKENS_PER_MESSAGE: Final = 16
"""Marks around a turn."""
TOKENS_PER_CALL: Final = 2_000
"""What providers add of their own, such as how to call tools."""
UNBOUNDED_OUTPUT_TOKENS: Final = 32_768
"""For calls that do not say how long an answer may be. A longer one is rare, and then costs more than was put
aside: whoever wants to be certain sets `max_output_tokens`."""


def most_tokens(conversation: Conversation) -> Usage:
    """Return the most tokens that an answer to `conversation` may use."""
    text = sum(_bytes(part) for message in conversation.messages for part in message.parts)
    tools = sum(
        len(tool.name) + len(tool.description.encode()) + len(json.dumps(tool.parameters))
        for tool in conversation.tools
    )
    wanted = len(json.dumps(conversation.response_format.schema))
    return Usage(
        input_tokens=text
        + tools
        + wanted
        + (len(conversation.messages) + len(conversation.tools)) * TOKENS_PER_MESSAGE
        + TOKENS_PER_CALL,
        output_tokens=conversation.max_output_tokens or UNBOUNDED_OUTPUT_TOKENS,
    )


def _bytes(part: Part) -> int:
    """Return how many tokens a part may have. What a signature hides has no more than it has bytes."""
    match part:
        case Text(text, signature) | Reasoning(text, signature):
            return len(text.encode()) + _hidden(signature)
        case Image():
            return TOKENS_PER_IMAGE
        case ToolCall():
            called = part.id + part.name + part.arguments
            return len(called.encode()) + _hidden(part.signature)
        case _:
            return len((part.tool_call_id + part.name + part.content).encode())


def _hidden(signature: Signature | None) -> int:
    return 0 if signature is None else len(signature.data)
