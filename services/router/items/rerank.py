"""`Rerank`, document by document. What is kept is a document's score for a query, as little-endian fp32."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult

from services.config import Limits
from services.router.cache.key import Field, KeySpace
from services.router.errors import Garbled
from services.router.items.messages import TRUNCATIONS, read_response, slices, tokens_of
from services.router.items.question import Facts, Part
from services.router.items.wire import tail

METHOD: Final = "/inglenook.rerank.v1.RerankService/Rerank"

SCORE: Final = struct.Struct("<f")


class RerankQuestion:
    """A call of Rerank. Satisfies `Question`."""

    task = "rerank"
    method = METHOD
    exact = True

    def __init__(self, request: RerankRequest, model: str) -> None:
        self.documents: list[str] = list(request.documents)
        self.count = len(self.documents)
        self._query = request.query
        self._top_n = request.top_n if request.HasField("top_n") else self.count
        self._return_documents = request.return_documents
        self.fields: tuple[Field, ...] = (request.raw_scores, TRUNCATIONS[request.truncation], request.query)
        self._asked = RerankRequest(
            model=model,
            query=request.query,
            raw_scores=request.raw_scores,
            truncation=request.truncation,
        )

    @classmethod
    def of(cls, request: RerankRequest, model: str, limits: Limits) -> RerankQuestion | None:
        """Take a request for `model` apart; None if only the backend can tell what is wrong with it."""
        count = len(request.documents)
        countable = 0 < count <= limits.max_client_batch_size
        in_range = not request.HasField("top_n") or 1 <= request.top_n <= count
        known = request.truncation in TRUNCATIONS
        return cls(request, model) if countable and in_range and known else None

    def keys(self, space: KeySpace, part: slice) -> list[bytes]:
        """Return what the scores of these documents are found by."""
        return list(map(space.key, self.documents[part]))

    def request(self, positions: Sequence[int]) -> bytes:
        """Return a request for the documents at these positions."""
        asked = RerankRequest()
        asked.CopyFrom(self._asked)
        documents = self.documents
        asked.documents.extend([documents[position] for position in positions])
        return asked.SerializeToString()

    def read(self, content: bytes, count: int) -> Part:
        """Return the scores of a response, in the order of the documents.

        Raises:
            Garbled: It does not have one for each, or one is not a number, which has no place in an order.
        """
        response = read_response(RerankResponse, content)
        found = {result.index: result.score for result in response.results}
        if len(response.results) != count or found.keys() != set(range(count)):
            raise Garbled
        if not all(map(math.isfinite, found.values())):
            raise Garbled
        return Part(
            values=[SCORE.pack(found[index]) for index in range(count)],
            lasting=True,
            model=response.model,
            input_tokens=tokens_of(response.usage),
            timings=response.timings,
        )

    async def write(self, values: Sequence[bytes], facts: Facts) -> bytes:
        """Return a response with the best documents first; equal scores keep the order of the request."""
        scores = struct.unpack(f"<{len(values)}f", b"".join(values))
        order = sorted(range(self.count), key=scores.__getitem__, reverse=True)[: self._top_n]
        texts: Sequence[str | None] = self.documents if self._return_documents else [None] * self.count
        response = RerankResponse()
        async for part in slices(len(order)):
            response.results.extend(
                [
                    RerankResult(index=place, score=scores[place], document=texts[place])
                    for place in order[part]
                ]
            )
        return response.SerializeToString() + tail(facts)
