"""What a model is told in words about the JSON that it has to write."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from services.chat.conversation import Conversation, Message, ResponseFormat, Text
from services.chat.providers.facts import Facts

JSON_ONLY: Final = (
    "Answer with JSON and nothing else: no introduction, no explanation, no Markdown around it. "
    "The first character of the answer is the first character of the JSON."
)
BY_SCHEMA: Final = "The JSON must be valid by this JSON Schema:"
AGAIN: Final = "Answer again, with the whole JSON, corrected, and nothing else."


def prepare(conversation: Conversation, facts: Facts) -> Conversation:
    """Return what to ask a target: one that cannot be held to the response format is told in words.

    A target of which that is not known is believed to have a way of its own.
    """
    wanted = conversation.response_format
    if wanted.kind == "json_schema" and facts.json_schema is False:
        schema = json.dumps(wanted.schema, ensure_ascii=False).encode(errors="replace").decode()
        instruction = f"{JSON_ONLY} {BY_SCHEMA}\n{schema}"  # JSON can hold halves of characters, text cannot
        rest = ResponseFormat("json" if facts.json else "text")
    elif wanted.kind == "json" and facts.json is False:
        instruction, rest = JSON_ONLY, ResponseFormat()
    else:
        return conversation
    turns = conversation.messages
    first = next((number for number, turn in enumerate(turns) if turn.role != "system"), len(turns))
    told = Message("system", (Text(instruction),))
    return replace(conversation, messages=(*turns[:first], told, *turns[first:]), response_format=rest)


def repair(conversation: Conversation, answer_text: str, told: str) -> Conversation:
    """Return the conversation in which the model sees its answer and what is wrong with it.

    Args:
        conversation: What was asked.
        answer_text: The answer. A turn without text is refused by some providers, and left out.
        told: What `problem` said.
    """
    answer = (Message("assistant", (Text(answer_text),)),) if answer_text.strip() else ()
    request = Message("user", (Text(f"{told[:1].upper()}{told[1:]}. {AGAIN}"),))
    return replace(conversation, messages=(*conversation.messages, *answer, request))
