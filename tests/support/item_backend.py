"""A backend for embed, rerank and nli whose answers are hashes of what they are about.

It speaks the wire format, refuses what the services refuse, and remembers what it computed. Labels are scored
by the nli service's own arithmetic.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import numpy as np
from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Timings, Usage
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, Encoding
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
    RawScores,
)
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult

from services.chassis.errors import InvalidRequest, Relayed
from services.chassis.status import Status, explained_status
from services.config import Limits
from services.inference.models import zero_shot
from services.inference.models.labels import Roles
from services.router.items import classify, embed, infer, rerank
from services.router.routing.call import FINGERPRINT_KEY, Answer, Ask, Metadata
from tests.support.backend import Context, FakeBackend

EMBED: Final = embed.METHOD
RERANK: Final = rerank.METHOD
INFER: Final = infer.METHOD
CLASSIFY: Final = classify.METHOD

DIMENSIONS: Final = 8
ROLES: Final = Roles(entailment=0, contradiction=1)
TIMINGS: Final = Timings(
    total_time=Duration(nanos=900), queue_time=Duration(nanos=100), inference_time=Duration(nanos=700)
)
SERVED_BY: Final = ("inglenook-served-by", "there:1")


def number(*about: Any) -> float:
    """Return an fp32 number between -4 and 4 that depends on all of this and on nothing else."""
    digest = sha256(repr(about).encode()).digest()
    (found,) = struct.unpack("<f", struct.pack("<f", int.from_bytes(digest[:4], "big") / 2**29 - 4))
    return float(found)


def coarse(*about: Any) -> float:
    """Return one of five numbers, so that many are equal."""
    return round(number(*about)) / 8


@dataclass
class Items:
    """Answers requests as the engine services do.

    Attributes:
        fingerprint: Fingerprint of its model; empty if it tells none.
        computed: How often it computed each item.
        requests: What it was asked, in order.
        spoil: Changes a response before it is sent.
        before: Awaited before a request is answered.
    """

    fingerprint: str = "f1"
    computed: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    spoil: Callable[[Any], None] | None = None
    before: Callable[[Any], Awaitable[None]] | None = None

    @property
    def trailing(self) -> Metadata:
        """What goes with its answers."""
        told = ((FINGERPRINT_KEY, self.fingerprint),) if self.fingerprint else ()
        return (SERVED_BY, *told)

    async def respond(self, method: str, content: bytes) -> bytes:
        """Answer one request.

        Raises:
            InvalidRequest: As a service would refuse it.
        """
        kind, make = KINDS[method]
        request = kind.FromString(content)
        self.requests.append((method, request))
        if self.before is not None:
            await self.before(request)
        response = make(self, request)
        if self.spoil is not None:
            self.spoil(response)
        return bytes(response.SerializeToString())

    def compute(self, *item: Any) -> tuple[Any, ...]:
        """Note that an item is computed; return what its answer depends on."""
        self.computed[item] += 1
        return (self.fingerprint, *item)

    def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Answer Embed."""
        check("inputs", request.inputs)
        size = request.dimensions if request.HasField("dimensions") else DIMENSIONS
        if not 1 <= size <= DIMENSIONS:
            raise InvalidRequest([("dimensions", f"is {size}")])
        normalize = request.normalize if request.HasField("normalize") else True
        options = (request.input_type, size, normalize, request.truncation or 1)
        vectors = {}
        for text in dict.fromkeys(request.inputs):
            about = self.compute(text, *options)
            vectors[text] = [number(*about, place) for place in range(size)]
        if request.encoding == Encoding.ENCODING_FLOAT32:
            made = [Embedding(packed=struct.pack(f"<{size}f", *vectors[text])) for text in request.inputs]
        else:
            made = [Embedding(values=vectors[text]) for text in request.inputs]
        return EmbedResponse(embeddings=made, model="m", usage=cost(vectors), timings=TIMINGS)

    def rerank(self, request: RerankRequest) -> RerankResponse:
        """Answer Rerank."""
        if not request.query:
            raise InvalidRequest([("query", "must not be empty")])
        check("documents", request.documents)
        count = len(request.documents)
        if request.HasField("top_n") and not 1 <= request.top_n <= count:
            raise InvalidRequest([("top_n", f"is {request.top_n}")])
        options = (request.query, request.raw_scores, request.truncation or 1)
        found = {one: coarse(*self.compute(one, *options)) for one in dict.fromkeys(request.documents)}
        scores = np.array([found[one] for one in request.documents], dtype=np.float32)
        order = np.argsort(-scores, kind="stable")[: request.top_n or None]
        texts = request.documents
        results = [
            RerankResult(
                index=place, score=scores[place], document=texts[place] if request.return_documents else None
            )
            for place in order.tolist()
        ]
        return RerankResponse(results=results, model="m", usage=cost(found), timings=TIMINGS)

    def infer(self, request: InferRequest) -> InferResponse:
        """Answer Infer."""
        pairs = [(pair.premise, pair.hypothesis) for pair in request.pairs]
        if not pairs:
            raise InvalidRequest([("pairs", "must hold at least 1 pair")])
        check("pairs", [premise and hypothesis for premise, hypothesis in pairs], ".premise")
        logits = {one: self._logits(one, request.truncation) for one in dict.fromkeys(pairs)}
        results = []
        for pair in pairs:
            entailment, opposite = logits[pair]
            result = InferResult(entailment=abs(entailment) / 4, contradiction=abs(opposite) / 4)
            if request.raw_scores:
                result.raw_scores.CopyFrom(RawScores(entailment=entailment, opposite=opposite))
            results.append(result)
        usage = cost(premise + hypothesis for premise, hypothesis in logits)
        return InferResponse(results=results, model="m", usage=usage, timings=TIMINGS)

    def classify(self, request: ClassifyRequest) -> ClassifyResponse:
        """Answer Classify, scores and order being made by the service's own code."""
        options = zero_shot.ClassifyOptions(
            hypothesis_template=request.hypothesis_template or zero_shot.DEFAULT_TEMPLATE,
            multi_label=request.multi_label,
        )
        if wrong := zero_shot.violations(request.inputs, request.labels, options, Limits()):
            raise InvalidRequest(wrong)
        template, width = options.hypothesis_template, len(request.labels)
        pairs = [
            (text, template.replace("{}", label, 1)) for text in request.inputs for label in request.labels
        ]
        logits = {one: self._logits(one, request.truncation) for one in dict.fromkeys(pairs)}
        shaped = np.array([logits[one] for one in pairs]).reshape(-1, width, 2)
        scores = zero_shot.score(shaped, ROLES, multi_label=request.multi_label)
        results = []
        for row in scores:
            order = np.argsort(-row, kind="stable").tolist()
            ranked = [LabelScore(label=request.labels[place], score=row[place]) for place in order]
            results.append(ClassifyResult(scores=ranked))
        usage = cost(premise + hypothesis for premise, hypothesis in logits)
        return ClassifyResponse(results=results, model="m", usage=usage, timings=TIMINGS)

    def _logits(self, pair: tuple[str, str], truncation: int) -> tuple[float, float]:
        about = self.compute(*pair, truncation or 1)
        return coarse(*about, "entailment"), number(*about, "opposite")

    async def unary(self, backend: FakeBackend, content: bytes, context: Context) -> bytes:
        """Answer over gRPC, for a backend that has just noted the method."""
        try:
            response = await self.respond(backend.methods[-1], content)
        except InvalidRequest as refusal:
            status = status_of(refusal)
            await context.abort(status.code, status.message, status.trailing_metadata)
        context.set_trailing_metadata(self.trailing)
        return response


KINDS: Final[dict[str, tuple[Any, Callable[[Items, Any], Any]]]] = {
    EMBED: (EmbedRequest, Items.embed),
    RERANK: (RerankRequest, Items.rerank),
    INFER: (InferRequest, Items.infer),
    CLASSIFY: (ClassifyRequest, Items.classify),
}
RESPONSES: Final[dict[str, Any]] = {
    EMBED: EmbedResponse,
    RERANK: RerankResponse,
    INFER: InferResponse,
    CLASSIFY: ClassifyResponse,
}


def status_of(refusal: Any) -> Status:
    """Return what a service would end a call with that it refuses."""
    return explained_status(refusal)


def check(parameter: str, texts: Sequence[str], side: str = "") -> None:
    """Refuse texts as the services do: none, or one that is empty."""
    if not texts:
        raise InvalidRequest([(parameter, "must hold at least 1 text")])
    wrong = [
        (f"{parameter}[{index}]{side}", "must not be empty")
        for index, text in enumerate(texts)
        if not text or text.isspace()
    ]
    if wrong:
        raise InvalidRequest(wrong)


def cost(texts: Any) -> Usage:
    """Return what texts cost: a token per character."""
    return Usage(input_tokens=sum(map(len, texts)))


class ItemRoute:
    """A route to backends that are `Items`, in turn: what is asked of `routing.Route`, without sockets.

    Attributes:
        width: How many replicas it says there are.
        known: The fingerprint that it tells; None for that of its first backend.
    """

    def __init__(self, capability: str, *backends: Items) -> None:
        self.capability = capability
        self.backends = backends
        self.width = len(backends)
        self.known: str | None = None
        self.asked: list[Ask] = []

    async def fingerprint(self, model: str) -> str:
        """Return the fingerprint of the model."""
        del model
        return self.backends[0].fingerprint if self.known is None else self.known

    async def unary(self, ask: Ask) -> Answer:
        """Pass on a call."""
        backend = self.backends[len(self.asked) % len(self.backends)]
        self.asked.append(ask)
        try:
            content = await backend.respond(ask.method, ask.content)
        except InvalidRequest as refusal:
            status = status_of(refusal)
            raise Relayed(status.code, status.message, status.trailing_metadata) from refusal
        read = ask.accept(content) if ask.accept is not None else None
        return Answer(content, backend.trailing, read=read)
