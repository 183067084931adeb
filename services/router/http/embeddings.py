"""`/v1/embeddings`: https://platform.openai.com/docs/api-reference/embeddings/create."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

from inglenook.common.v1 import Truncation, Usage
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, Encoding, InputType, TokenInput
from starlette.responses import Response

from services.router.http.endpoint import as_json
from services.router.http.exchange import JSON, Exchange
from services.router.http.fields import MAX_INT32, Fields

EMBED: Final = "/inglenook.embed.v1.EmbedService/Embed"
KNOWN: Final = frozenset(
    {"model", "input", "encoding_format", "dimensions", "user", "input_type", "truncation"}
)
FORMATS: Final = {"float": 0, "base64": 1}
INPUT_TYPES: Final[Mapping[str, InputType.ValueType]] = {
    "query": InputType.INPUT_TYPE_QUERY,
    "document": InputType.INPUT_TYPE_DOCUMENT,
}
TRUNCATIONS: Final[Mapping[str, Truncation.ValueType]] = {
    "none": Truncation.TRUNCATION_NONE,
    "right": Truncation.TRUNCATION_RIGHT,
    "left": Truncation.TRUNCATION_LEFT,
}
SLICE: Final = 16
"""Embeddings written between two turns of the event loop; as numbers in JSON, one takes 0.2 ms."""
FLOAT_BYTES: Final = 4


async def embeddings(exchange: Exchange) -> Response:
    """Embed texts."""
    request, as_base64 = await exchange.asked(_asked)
    outcome = await exchange.call(EMBED, request)
    response = EmbedResponse.FromString(outcome.content)
    content = await _written(response, as_base64=as_base64)
    return Response(content, 200, {**outcome.headers, **cached(response.cached_inputs)}, JSON)


def _asked(content: Mapping[str, Any]) -> tuple[EmbedRequest, bool]:
    """Return what a body asks for, and whether as base64."""
    body = Fields(content)
    body.check_known(KNOWN)
    as_base64 = body.choice("encoding_format", FORMATS) == FORMATS["base64"]
    request = EmbedRequest(
        model=body.text("model") or "",
        **_inputs(body),
        dimensions=body.count("dimensions"),
        input_type=body.choice("input_type", INPUT_TYPES) or InputType.INPUT_TYPE_UNSPECIFIED,
        truncation=body.choice("truncation", TRUNCATIONS) or Truncation.TRUNCATION_UNSPECIFIED,
        encoding=Encoding.ENCODING_FLOAT32,
    )
    return request, as_base64


def usage(used: Usage) -> dict[str, int]:
    """Return tokens used where nothing is written, if they are known."""
    known = used.HasField("input_tokens")
    return {"prompt_tokens": used.input_tokens, "total_tokens": used.input_tokens} if known else {}


def cached(inputs: int) -> dict[str, str]:
    """Return the header that says how many inputs were answered from the cache, if any were."""
    return {"x-inglenook-cached-inputs": str(inputs)} if inputs else {}


def _inputs(body: Fields) -> dict[str, Any]:
    """Return the fields of the contract for texts or for tokens, of which one list counts as one text."""
    if not body.has("input"):
        body.refuse("input", "must be set")
    given = body.take("input")
    if not isinstance(given, list) or not given or not isinstance(given[0], int | list):
        return {"inputs": body.texts("input")}
    lists = given if isinstance(given[0], list) else [given]
    return {"token_inputs": [_tokens(body, index, ids) for index, ids in enumerate(lists)]}


def _tokens(body: Fields, index: int, ids: Any) -> TokenInput:
    """Return one text as token ids; what mixes them with texts or other lists is refused."""
    name = f"input[{index}]"
    if not isinstance(ids, list):
        body.refuse(name, "must be a list of token ids, as the others are")
    if set(map(type, ids)) - {int}:
        body.refuse(name, "must have nothing but token ids, which are whole numbers")
    if ids and not 0 <= min(ids) <= max(ids) <= MAX_INT32:
        body.refuse(name, "has a token id that is out of range")
    return TokenInput(ids=ids)


async def _written(response: EmbedResponse, *, as_base64: bool) -> bytes:
    """Return the body, written in slices: a thousand embeddings take a fifth of a second."""
    pieces: list[bytes] = []
    for index, embedding in enumerate(response.embeddings):
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        values = _base64(embedding.packed) if as_base64 else _numbers(embedding.packed)
        pieces.append(b'{"object":"embedding","index":%d,"embedding":%b}' % (index, values))
    rest: dict[str, Any] = {"model": response.model, "usage": usage(response.usage)}
    return b'{"object":"list","data":[%b],%b' % (b",".join(pieces), json.dumps(rest).encode()[1:])


def _base64(packed: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(packed)


def _numbers(packed: bytes) -> bytes:
    values = struct.unpack(f"<{len(packed) // FLOAT_BYTES}f", packed)
    return as_json(values)
