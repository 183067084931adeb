"""`Embed`, text by text. What is kept is the embedding as little-endian fp32."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, Encoding, InputType

from services.config import Limits
from services.router.cache.key import Field, KeySpace
from services.router.errors import Garbled
from services.router.items.messages import TRUNCATIONS, read_response, tokens_of
from services.router.items.question import Facts, Part
from services.router.items.wire import embeddings, tail

METHOD: Final = "/inglenook.embed.v1.EmbedService/Embed"

COMPONENT_BYTES: Final = 4
HUGE: Final = b"\x7f"
HUGE_NEGATIVE: Final = b"\xff"
INPUT_TYPES: Final = frozenset(InputType.values())
ENCODINGS: Final = frozenset(Encoding.values())


class EmbedQuestion:
    """A call of Embed. Satisfies `Question`."""

    task = "embed"
    method = METHOD
    exact = True

    def __init__(self, request: EmbedRequest, model: str) -> None:
        self.texts: list[str] = list(request.inputs)
        self.count = len(self.texts)
        self._bytes = COMPONENT_BYTES * request.dimensions
        self._packed = request.encoding == Encoding.ENCODING_FLOAT32
        dimensions = request.dimensions if request.HasField("dimensions") else None
        normalize = request.normalize if request.HasField("normalize") else True
        self.fields: tuple[Field, ...] = (
            request.input_type,
            dimensions,
            normalize,
            TRUNCATIONS[request.truncation],
        )
        self._request = request
        self._model = model

    @classmethod
    def of(cls, request: EmbedRequest, model: str, limits: Limits) -> EmbedQuestion | None:
        """Take a request for `model` apart; None if only the backend can tell what is wrong with it."""
        countable = 0 < len(request.inputs) <= limits.max_client_batch_size and not request.token_inputs
        known = (
            request.input_type in INPUT_TYPES
            and request.truncation in TRUNCATIONS
            and request.encoding in ENCODINGS
        )
        return cls(request, model) if countable and known else None

    def keys(self, space: KeySpace, part: slice) -> list[bytes]:
        """Return what the embeddings of these texts are found by."""
        return list(map(space.key, self.texts[part]))

    def request(self, positions: Sequence[int]) -> bytes:
        """Return a request for the texts at these positions."""
        texts, request = self.texts, self._request
        asked = EmbedRequest(
            model=self._model,
            inputs=[texts[position] for position in positions],
            input_type=request.input_type,
            truncation=request.truncation,
            encoding=Encoding.ENCODING_FLOAT32,
            normalize=request.normalize if request.HasField("normalize") else True,
        )
        if request.HasField("dimensions"):
            asked.dimensions = request.dimensions
        return asked.SerializeToString()

    def read(self, content: bytes, count: int) -> Part:
        """Return the embeddings of a response.

        Raises:
            Garbled: There are not so many, they are not of one length, that which was asked for, or a
                component is no number.
        """
        response = read_response(EmbedResponse, content)
        vectors = [one.packed or _packed(one) for one in response.embeddings]
        sizes = set(map(len, vectors))
        if len(vectors) != count or len(sizes) != 1 or not (size := sizes.pop()) or size % COMPONENT_BYTES:
            raise Garbled
        if (self._bytes and size != self._bytes) or not all(map(finite, vectors)):
            raise Garbled
        return Part(
            values=vectors,
            lasting=True,
            model=response.model,
            input_tokens=tokens_of(response.usage),
            timings=response.timings,
        )

    async def write(self, values: Sequence[bytes], facts: Facts) -> bytes:
        """Return a response with these embeddings, in the encoding that the request asked for.

        Raises:
            Garbled: They are not of one length.
        """
        if len(set(map(len, values))) != 1:
            raise Garbled
        return embeddings(values, packed=self._packed) + tail(facts)


def _packed(embedding: Embedding) -> bytes:
    """Return what a backend sent as numbers although it was not asked for them."""
    return struct.pack(f"<{len(embedding.values)}f", *embedding.values)


def finite(vector: bytes) -> bool:
    """Say whether all components of a little-endian fp32 vector are numbers.

    What is none has all bits of its exponent set, seven of which are in its highest byte. Components of
    embeddings are far smaller than the numbers that share that byte, so that they are hardly ever looked at.
    """
    highest = vector[COMPONENT_BYTES - 1 :: COMPONENT_BYTES]
    if HUGE not in highest and HUGE_NEGATIVE not in highest:
        return True
    return all(map(math.isfinite, struct.unpack(f"<{len(highest)}f", vector)))
