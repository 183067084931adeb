from __future__ import annotations

import pytest

from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from services.chat.money.estimate import TOKENS_PER_IMAGE, UNBOUNDED_OUTPUT_TOKENS, most_tokens
from tests.support.priced import question

BARE = most_tokens(question("")).input_tokens or 0


def read(*parts: Part) -> int:
    """Return how many tokens more than nothing a turn of these parts may have."""
    return (most_tokens(Conversation((Message("user", parts),))).input_tokens or 0) - BARE


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Text("four"), 4),
        (Text("Käse"), 5),
        (Text("", Signature("p", b"12345")), 5),
        (Reasoning("hm", Signature("p", b"123")), 5),
        (Image("image/png", b"x"), TOKENS_PER_IMAGE),
        (ToolCall("id", "f", "{}"), 5),
        (ToolResult("id", "f", "done"), 7),
    ],
)
def test_part_has_at_most_as_many_tokens_as_bytes(part: Part, tokens: int) -> None:
    """No tokenizer makes more; pictures are counted as the dearest model counts the largest one."""
    assert read(part) == tokens


def test_tools_and_schemas_are_read_too() -> None:
    """They go into the prompt, or are paid for as if they did."""
    tool = Tool("f", "does it", {"type": "object"})
    with_tool = Conversation(question("").messages, tools=(tool,))
    assert (most_tokens(with_tool).input_tokens or 0) > BARE + len("does it")
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    formatted = Conversation(
        question("").messages, response_format=ResponseFormat("json_schema", "r", schema)
    )
    assert (most_tokens(formatted).input_tokens or 0) > BARE + 40


def test_answer_has_at_most_as_many_tokens_as_were_asked_for() -> None:
    """A call that does not say gets a bound that answers hardly ever reach."""
    assert most_tokens(question(max_output_tokens=7)).output_tokens == 7
    assert most_tokens(question(max_output_tokens=None)).output_tokens == UNBOUNDED_OUTPUT_TOKENS
