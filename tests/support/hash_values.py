"""What the hash backend answers: pure functions of the texts, so that a test can tell whose answer it got."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Final

DIMENSIONS: Final = 16
MODELS: Final = {"embed": "hash-embed", "rerank": "hash-rerank", "nli": "hash-nli"}
"""The model that each capability has."""


def fingerprint(model: str) -> str:
    """Return what the backend says decides the answers of a model."""
    return hashlib.sha256(f"hash backend 1 {model}".encode()).hexdigest()


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return the embedding of a text: numbers of 16 bits, which 32-bit floats hold exactly."""
    found = struct.unpack(f"<{DIMENSIONS}h", _digest("embed", text))
    return [number / 2**15 for number in found[:dimensions]]


def packed(text: str, dimensions: int = DIMENSIONS) -> bytes:
    """Return the same, back to back as little-endian binary32."""
    return struct.pack(f"<{dimensions}f", *vector(text, dimensions))


def relevance(query: str, document: str) -> float:
    """Return the raw score of a document, -4 to 4."""
    (found,) = struct.unpack("<h", _digest("rerank", query, document)[:2])
    return float(found) / 2**13


def logits(premise: str, hypothesis: str) -> tuple[float, float, float]:
    """Return the logits of entailment, neutral and contradiction, -4 to 4."""
    first, second, third = struct.unpack("<3h", _digest("nli", premise, hypothesis)[:6])
    return first / 2**13, second / 2**13, third / 2**13


def sigmoid(value: float) -> float:
    """Return a raw score as one between 0 and 1, as a 32-bit float holds it."""
    return _float32(1 / (1 + math.exp(-value)))


def softmax(values: Sequence[float]) -> list[float]:
    """Return logits as probabilities, as 32-bit floats hold them."""
    powers = [math.exp(value) for value in values]
    return [_float32(power / sum(powers)) for power in powers]


def label_scores(text: str, hypotheses: Sequence[str], *, multi_label: bool) -> list[float]:
    """Return the score of each hypothesis for a text, in their order."""
    judged = [logits(text, hypothesis) for hypothesis in hypotheses]
    if multi_label or len(judged) == 1:
        return [softmax((entailment, opposite))[0] for entailment, _, opposite in judged]
    return softmax([entailment for entailment, _, _ in judged])


def _digest(kind: str, *texts: str) -> bytes:
    content = b"\0".join(text.encode(errors="surrogatepass") for text in (kind, *texts))
    return hashlib.blake2b(content, digest_size=2 * DIMENSIONS).digest()


def _float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
