"""HTTP requests as nobody should make them: bytes, ready to be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.fuzz.dice import CANARY, Dice, Seeded, chance
from tests.support.hash_values import MODELS

TURN: Final = {"role": "user", "content": "How warm is it?"}
REAL: Final[Mapping[str, Any]] = {
    "/v1/chat/completions": {
        "model": "assistant",
        "messages": [TURN],
        "stream": True,
        "temperature": 0.5,
        "max_completion_tokens": 20,
        "stop": ["."],
        "tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}],
        "response_format": {"type": "json_object"},
        "stream_options": {"include_usage": True},
    },
    "/v1/embeddings": {
        "model": MODELS["embed"],
        "input": ["the cat sits", "green"],
        "encoding_format": "base64",
        "dimensions": 8,
    },
    "/v1/rerank": {
        "model": MODELS["rerank"],
        "query": "cats",
        "documents": ["a cat", {"text": "b"}],
        "top_n": 1,
    },
    "/v2/rerank": {"model": MODELS["rerank"], "query": "cats", "documents": ["a cat", "b"], "top_n": 1},
    "/v1/nli": {"model": MODELS["nli"], "pairs": [{"premise": "it rains", "hypothesis": "it is wet"}]},
    "/v1/classify": {
        "model": MODELS["nli"],
        "input": ["a goal"],
        "labels": ["sport", "food"],
        "multi_label": True,
    },
    "/feedback": {"response_id": "r1", "metric": "liked", "value": True, "tags": {"a": "b"}},
}
"""By path; the others have no body."""
NUMBERS: Final = (
    "0",
    "-1",
    "1e999",
    "-0.0",
    "1" * 400,
    "1.5",
    "2147483648",
    "9223372036854775808",
    "NaN",
    "1e-400",
)
ODD: Final = (
    "null", "true", "[]", "{}", '""', '"\\ud800"', '"\\u0000"', f'"{CANARY} \\u202e"', "[[[[]]]]",
    '{"a":{"b":[1]}}',
    '["' + "x" * 2000 + '"]', '{"": null}', '"assistant"', "[1,2,3]", "[" * 90 + "]" * 90, '{"__class__":1}',
)  # fmt: skip
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW", "get")
HEADERS: Final = (
    b"content-type: text/plain", b"content-type: application/json; charset=utf-16", b"content-encoding: gzip",
    b"origin: http://evil.example", b"x-request-timeout-seconds: nan", b"x-request-timeout-seconds: -1",
    b"x-request-timeout-seconds: 1e400", b"inglenook-cache: maybe", b"inglenook-cache: off",
    b"x-request-id: a b", b"authorization: Bearer \xff\xfe", b"authorization: Basic",
    b"x-api-key: " + CANARY.encode(), b"traceparent: 00-zz", b"host: \x80", b"x" * 9_000 + b": y",
    b"accept: \0", b": nothing", b"no colon at all", b"transfer-encoding: gzip, chunked",
    b"content-length: -1", b"cookie: " + b"c" * 60_000, b"upgrade: websocket\r\nconnection: upgrade",
    b"expect: 100-continue", b"content-length: 7",
)  # fmt: skip
END: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Raw:
    """A request.

    Attributes:
        content: All bytes of it.
        whole: Everything that its head announces is there.
    """

    content: bytes
    whole: bool


def requests(method: str, path: str, count: int, start: int) -> Iterator[Raw]:
    """Yield requests for a path, most of them with its method."""
    dice = Seeded(start)
    for number in range(count):
        if number % 50 == 49:
            yield Raw(dice.data(400) + dice.one_of((b"", b"\r\n\r\n")), whole=False)
        else:
            yield _request(dice, method, path)


def _request(dice: Dice, method: str, path: str) -> Raw:
    body, plain = _body(dice, path), True
    head = [_first_line(dice, method, path), b"host: localhost", b"connection: close"]
    if chance(dice, 95):
        head.append(b"content-type: application/json")
    if chance(dice, 15):
        head.append(dice.one_of(HEADERS))
        plain = False  # what it announces may be something else
    how = dice.number(0, 99)
    if how < 8:
        head.append(b"transfer-encoding: chunked")
        end = dice.one_of((END, END, b"zz\r\n", b"", b"-1\r\n\r\n"))
        content = _chunked(dice, body) + end
        plain = plain and end == END and b"HTTP/1.1" in head[0]
    else:
        announced = len(body) + (dice.number(1, 2**31) if how < 14 else 0)
        head.append(b"content-length: %d" % announced)
        content = body
        plain = plain and announced == len(body)
    return Raw(b"\r\n".join(head) + b"\r\n\r\n" + content, plain)


def _first_line(dice: Dice, method: str, path: str) -> bytes:
    verb = method if chance(dice, 92) else dice.one_of(METHODS)
    model = dice.one_of(("assistant", "%00", "a/b/../c", "%ff%fe", "x" * 3000))
    target = path.replace("{model:path}", model)
    if chance(dice, 5):
        target += dice.one_of(("?a=b&a=%zz", "/", "//", "/..%2f", "#x", "?" + "q" * 5000))
    return f"{verb} {target} HTTP/1.{dice.number(0, 3) > 0:d}".encode()


def _chunked(dice: Dice, body: bytes) -> bytes:
    """Return a body in chunks, without their end."""
    parts = bytearray()
    size = dice.number(1, 2_000)
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        parts += b"%x\r\n%b\r\n" % (len(piece), piece)
    return bytes(parts)


def _body(dice: Dice, path: str) -> bytes:
    how = dice.number(0, 99)
    if how < 5:
        return dice.data(200)
    if how < 10:
        depth = dice.one_of((50, 63, 64, 65, 1_000, 100_000))
        return b'{"model":' + b"[" * depth + b"]" * depth + b"}"
    text = _json(dice, REAL.get(path, {"model": "assistant"})).encode()
    if how < 20 and text:
        place = dice.number(0, len(text) - 1)
        return (
            text[:place]
            + dice.one_of((b"", b"\xff", b"\xed\xa0\x80", b"\0", b"}", b'"', b","))
            + text[place + 1 :]
        )
    return text


def _json(dice: Dice, value: Any) -> str:
    """Return a value as JSON, with something else in the place of a part now and then."""
    if chance(dice, 5):
        return dice.one_of(dice.one_of((NUMBERS, ODD)))
    if isinstance(value, dict):
        members = [
            f"{json.dumps(name)}:{_json(dice, one)}" for name, one in value.items() if chance(dice, 92)
        ]
        if chance(dice, 5):
            members.append(f'"{dice.one_of(("model", "n", "unknown", "input"))}":{dice.one_of(ODD)}')
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        items = [_json(dice, one) for one in value] * dice.one_of((1, 1, 1, 0, 3, 600))
        return "[" + ",".join(items) + "]"
    return json.dumps(value)
