"""Requests as callers make them: most of what is sent is one of these with a few fields changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.message import Message
from inglenook.chat.v1 import (
    ChatRequest,
    CompleteRequest,
    Image,
    JsonFormat,
    JsonSchemaFormat,
    Part,
    ReasoningOptions,
    ResponseFormat,
    Role,
    Signature,
    Tool,
    ToolCall,
    ToolResult,
)
from inglenook.chat.v1 import Message as Turn
from inglenook.common.v1 import Capability, Truncation
from inglenook.embed.v1 import EmbedRequest, Encoding, TokenInput
from inglenook.feedback.v1 import SendFeedbackRequest
from inglenook.model.v1 import (
    CountTokensRequest,
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest
from inglenook.router.v1 import ListBackendsRequest, PurgeCacheRequest

from tests.support.chat_cluster import user
from tests.support.hash_values import MODELS

NAMES: Final = (*MODELS.values(), "assistant", "vectors", "")
"""Models that there are; the empty name stands for the only one."""
EMBED, RERANK, NLI = MODELS["embed"], MODELS["rerank"], MODELS["nli"]
TEXTS: Final = ("the cat sits", "a dog runs on the mat", "green")

TURNS: Final = (
    Turn(role=Role.ROLE_SYSTEM, parts=[Part(text="Be brief.")]),
    user("How warm is it?"),
    Turn(
        role=Role.ROLE_ASSISTANT,
        parts=[
            Part(text="I look.", signature=Signature(provider="ollama", data=b"1")),
            Part(tool_call=ToolCall(id="call_1", name="weather", arguments="{}")),
        ],
    ),
    Turn(role=Role.ROLE_TOOL, parts=[Part(tool_result=ToolResult(tool_call_id="call_1", content="21"))]),
)
TOOLS: Final = (
    Tool(name="weather", description="Tells the weather.", parameters_schema='{"type": "object"}'),
)
SCHEMA: Final = '{"type": "object", "properties": {"a": {"type": "integer"}}}'


def _chats(kind: type[ChatRequest] | type[CompleteRequest]) -> list[Message]:
    return [
        kind(model="assistant", messages=TURNS[1:2], temperature=0.5, max_output_tokens=20, stop=["."]),
        kind(model="assistant", messages=TURNS, tools=TOOLS, parallel_tool_calls=True, seed=3),
        kind(model="assistant", messages=TURNS[:2], response_format=ResponseFormat(json=JsonFormat())),
        kind(
            model="assistant",
            messages=[
                Turn(role=Role.ROLE_USER, parts=[Part(image=Image(data=b"\x89PNG", media_type="image/png"))])
            ],
            reasoning=ReasoningOptions(effort=ReasoningOptions.EFFORT_LOW),
        ),
        kind(
            model="assistant",
            messages=TURNS[:2],
            metadata={"user": "7"},
            response_format=ResponseFormat(json_schema=JsonSchemaFormat(name="a", schema=SCHEMA)),
        ),
    ]


MESSAGES: Final[Sequence[Message]] = (
    EmbedRequest(model=EMBED, inputs=TEXTS, encoding=Encoding.ENCODING_FLOAT32),
    EmbedRequest(model=EMBED, inputs=TEXTS[:1], dimensions=8, normalize=False),
    EmbedRequest(model=EMBED, inputs=["x " * 200], truncation=Truncation.TRUNCATION_RIGHT),
    EmbedRequest(model=EMBED, token_inputs=[TokenInput(ids=[4, 5, 6])]),
    EmbedRequest(model="vectors", inputs=TEXTS),
    RerankRequest(model=RERANK, query="cats", documents=TEXTS, top_n=2, return_documents=True),
    RerankRequest(model=RERANK, query="cats", documents=[*TEXTS, *TEXTS], raw_scores=True),
    InferRequest(model=NLI, pairs=[Pair(premise=text, hypothesis="it is green") for text in TEXTS]),
    InferRequest(model=NLI, pairs=[Pair(premise="x " * 99, hypothesis="x")], raw_scores=True),
    ClassifyRequest(model=NLI, inputs=TEXTS, labels=["cat", "dog"], hypothesis_template="the {} runs"),
    ClassifyRequest(model=NLI, inputs=TEXTS, labels=["cat", "dog", "tree"], multi_label=True),
    *_chats(ChatRequest),
    *_chats(CompleteRequest),
    CountTokensRequest(model=EMBED, inputs=TEXTS),
    CountTokensRequest(model=RERANK, inputs=TEXTS),
    CountTokensRequest(model=NLI, inputs=TEXTS),
    *(GetModelRequest(model=name) for name in NAMES),
    *(LoadModelRequest(model=name) for name in NAMES),
    *(UnloadModelRequest(model=name) for name in NAMES),
    ListModelsRequest(capability=Capability.CAPABILITY_EMBED),
    ListBackendsRequest(capability=Capability.CAPABILITY_NLI),
    PurgeCacheRequest(model=EMBED),
    SendFeedbackRequest(response_id="r1", metric="liked", boolean=True, tags={"a": "b"}, idempotency_key="k"),
)  # fmt: skip


def _by_type() -> Mapping[str, Sequence[Message]]:
    found: dict[str, list[Message]] = {}
    for message in MESSAGES:
        found.setdefault(message.DESCRIPTOR.full_name, []).append(message)
    return found


REAL: Final = _by_type()
"""By full name of the type. A type without any has nothing to say."""
