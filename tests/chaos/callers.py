"""Callers of several kinds that call without pause and write down what comes of it."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
import httpx2
from inglenook.chat.v1 import ChatRequest
from inglenook.embed.v1 import EmbedRequest, Encoding
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from services.chassis.testing import read_failure
from tests.support import hash_values as values
from tests.support.chat_cluster import user
from tests.support.hash_answers import TEMPLATE
from tests.support.history import GARBLED, OK, Call, History
from tests.support.stubs import Stubs

PATIENCE_SECONDS: Final = 10.0
IMPATIENCE_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = 0.005
WORDS: Final = [f"text number {number}" for number in range(300)]
"""What is asked for again and again."""
NEW_SHARE: Final = 0.3
"""Share of texts that nobody has asked for before."""
TOLERANCE: Final = 1e-6
"""Of scores that the router puts together from others; embeddings are compared bit for bit."""
LABELS: Final = ("sport", "cooking", "weather")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a caller calls with.

    Attributes:
        stubs: Calls a router.
        http: Calls it over HTTP.
        history: Where calls are written down.
        dice: Decides what is asked.
    """

    stubs: Stubs
    http: httpx2.AsyncClient | None
    history: History
    dice: random.Random

    def texts(self, most: int) -> list[str]:
        """Return some texts: old ones that other callers ask for too, and new ones."""
        return [self.text() for _ in range(self.dice.randint(1, most))]

    def text(self) -> str:
        """Return one."""
        if self.dice.random() < NEW_SHARE:
            return f"a new text, {self.dice.getrandbits(64):x}"
        return self.dice.choice(WORDS)

    def metadata(self) -> list[tuple[str, str]]:
        """Return how the call wants the cache; most do not say."""
        mode = self.dice.choices(("", "off", "refresh"), (8, 1, 1))[0]
        return [("inglenook-cache", mode)] if mode else []

    def same(self, kind: str, *texts: str, bits: bytes) -> bool:
        """Say whether an answer has the bits that it always had."""
        return self.history.same_bits((kind, *texts), bits)


Ask: TypeAlias = Callable[[Desk], Awaitable[None]]


@asynccontextmanager
async def noted(desk: Desk, kind: str, seconds: float, sent: Sequence[str]) -> AsyncIterator[Call]:
    """Write down a call that is made within the block, however it ends."""
    call = desk.history.begin(kind, seconds, sent)
    try:
        yield call
    except grpc.aio.AioRpcError as error:
        failure = read_failure(error)
        call.end(failure.code.name, f"{failure.reason} {failure.message[:80]}")
    except httpx2.HTTPError as error:
        call.end(type(error).__name__)
    except (ValueError, TypeError, LookupError, AttributeError, struct.error) as error:  # None: unreadable
        call.wrong = f"the answer cannot be read: {type(error).__name__}"
        if not call.ends:
            call.end(GARBLED)
    else:
        if not call.ends:
            call.end(OK)


async def embed_one(desk: Desk) -> None:
    """Embed a text."""
    await _embed(desk, "embed", PATIENCE_SECONDS, [desk.text()])


async def embed_many(desk: Desk) -> None:
    """Embed up to sixteen texts, some of which others ask for at the same time."""
    await _embed(desk, "embed batch", PATIENCE_SECONDS, desk.texts(16))


async def impatient(desk: Desk) -> None:
    """Embed a text or more, and wait for a twentieth of a second at most."""
    await _embed(desk, "impatient", IMPATIENCE_SECONDS, desk.texts(4))


async def _embed(desk: Desk, kind: str, seconds: float, texts: list[str]) -> None:
    packs = desk.dice.random() < 0.5
    encoding = Encoding.ENCODING_FLOAT32 if packs else Encoding.ENCODING_FLOAT
    request = EmbedRequest(model="hash-embed", inputs=texts, encoding=encoding)
    async with noted(desk, kind, seconds, texts) as call:
        response = await desk.stubs.embed.Embed(request, timeout=seconds, metadata=desk.metadata())
        call.end(OK)
        call.cached_inputs = response.cached_inputs
        found = response.embeddings
        got = [one.packed if packs else array("f", one.values).tobytes() for one in found]
        _check_vectors(desk, call, got)


def _check_vectors(desk: Desk, call: Call, got: Sequence[bytes]) -> None:
    if len(got) != len(call.sent):
        call.wrong = f"{len(got)} embeddings for {len(call.sent)} texts"
    for place, (text, bits) in enumerate(zip(call.sent, got, strict=False)):
        if bits != values.packed(text) or not desk.same("embed", text, bits=bits):
            call.wrong = f"embedding {place} of {len(got)} is not that of its text"


async def rerank(desk: Desk) -> None:
    """Order documents, now and then only the best of them."""
    query, documents = f"query {desk.dice.randrange(5)}", desk.texts(8)
    raw = desk.dice.random() < 0.3
    top = desk.dice.randint(1, len(documents)) if desk.dice.random() < 0.3 else None
    request = RerankRequest(model="hash-rerank", query=query, documents=documents, top_n=top, raw_scores=raw)
    async with noted(desk, "rerank", PATIENCE_SECONDS, documents) as call:
        response = await desk.stubs.rerank.Rerank(request, timeout=PATIENCE_SECONDS, metadata=desk.metadata())
        call.end(OK)
        call.cached_inputs = response.cached_inputs
        expected = [values.relevance(query, document) for document in documents]
        if not raw:
            expected = [values.sigmoid(score) for score in expected]
        scores = [one.score for one in response.results]
        places = [one.index for one in response.results]
        if len(places) != (top or len(documents)) or len(set(places)) != len(places):
            call.wrong = f"{len(places)} results for {len(documents)} documents, top_n {top}"
        elif scores != sorted(scores, reverse=True) or max(expected) > scores[0] + TOLERANCE:
            call.wrong = "the results are not in order"
        elif not all(0 <= one < len(expected) and _near(expected[one], score)
                     for one, score in zip(places, scores, strict=True)):  # fmt: skip
            call.wrong = "a score is not that of its document"
        elif not all(
            desk.same(f"rerank {raw}", query, documents[one], bits=struct.pack("<f", score))
            for one, score in zip(places, scores, strict=True)
        ):
            call.wrong = "a score has other bits than before"


async def infer(desk: Desk) -> None:
    """Judge pairs."""
    pairs = [(text, f"claim {desk.dice.randrange(5)}") for text in desk.texts(6)]
    wired = [Pair(premise=premise, hypothesis=claim) for premise, claim in pairs]
    sent = [" / ".join(pair) for pair in pairs]
    async with noted(desk, "nli", PATIENCE_SECONDS, sent) as call:
        response = await desk.stubs.nli.Infer(
            InferRequest(model="hash-nli", pairs=wired), timeout=PATIENCE_SECONDS, metadata=desk.metadata()
        )
        call.end(OK)
        call.cached_inputs = response.cached_inputs
        if len(response.results) != len(pairs):
            call.wrong = f"{len(response.results)} results for {len(pairs)} pairs"
        for pair, one in zip(pairs, response.results, strict=False):
            found = [one.entailment, one.neutral, one.contradiction]
            expected = values.softmax(values.logits(*pair))
            bits = struct.pack("<3f", *found)
            if not all(map(_near, expected, found)) or not desk.same("infer", *pair, bits=bits):
                call.wrong = "a judgment is not that of its pair"


async def classify(desk: Desk) -> None:
    """Score labels for texts."""
    texts, several = desk.texts(3), desk.dice.random() < 0.5
    request = ClassifyRequest(model="hash-nli", inputs=texts, labels=LABELS, multi_label=several)
    sent = [f"{text} / {label}" for text in texts for label in LABELS]
    async with noted(desk, "classify", PATIENCE_SECONDS, sent) as call:
        response = await desk.stubs.nli.Classify(request, timeout=PATIENCE_SECONDS, metadata=desk.metadata())
        call.end(OK)
        call.cached_inputs = response.cached_inputs
        hypotheses = [TEMPLATE.replace("{}", label) for label in LABELS]
        if len(response.results) != len(texts):
            call.wrong = f"{len(response.results)} results for {len(texts)} texts"
        for text, result in zip(texts, response.results, strict=False):
            found = {one.label: one.score for one in result.scores}
            expected = values.label_scores(text, hypotheses, multi_label=several)
            if len(found) != len(LABELS) or not all(
                _near(score, found.get(label, math.nan))
                for label, score in zip(LABELS, expected, strict=True)
            ):
                call.wrong = "the scores are not those of the text"


async def chat(desk: Desk) -> None:
    """Ask a question and read the answer as it comes."""
    question = desk.text()
    request = ChatRequest(model="assistant", messages=[user(question)])
    async with noted(desk, "chat", PATIENCE_SECONDS, [question]) as call:
        text, finished = "", False
        async for event in desk.stubs.chat.Chat(request, timeout=PATIENCE_SECONDS):
            text += event.delta.text
            finished = finished or event.HasField("finish")
        call.end(OK)
        if not finished or text != spoken(question):
            call.wrong = "the answer is not that of the question, or is not whole"


def spoken(question: str) -> str:
    """Return what the model says to a question."""
    return f"You said: {values.fingerprint(question)}."


async def over_http(desk: Desk) -> None:
    """Embed texts as OpenAI's clients do."""
    assert desk.http is not None
    texts = desk.texts(4)
    headers = {"x-request-timeout-seconds": f"{PATIENCE_SECONDS:g}", **dict(desk.metadata())}
    async with noted(desk, "http", PATIENCE_SECONDS, texts) as call:
        response = await desk.http.post(
            "/v1/embeddings", json={"model": "hash-embed", "input": texts}, headers=headers
        )
        body: Any = response.json()
        if response.status_code != 200:
            call.end(f"HTTP {response.status_code}", f"{body['error']['code']}")
            return
        call.end(OK)
        rows = sorted(body["data"], key=lambda row: row["index"])
        _check_vectors(desk, call, [struct.pack("<16f", *row["embedding"]) for row in rows])


EVERYBODY: Final[Sequence[Ask]] = (
    embed_one, embed_one, embed_many, embed_many, impatient, rerank, infer, classify, chat, chat, over_http,
)  # fmt: skip


@asynccontextmanager
async def calling(desk: Desk, kinds: Sequence[Ask]) -> AsyncIterator[None]:
    """Have one caller of each kind call until the block ends, and let each finish its last call."""
    ended = asyncio.Event()

    async def keep_calling(ask: Ask) -> None:
        while not ended.is_set():
            await ask(desk)
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for ask in kinds:
            group.create_task(keep_calling(ask))
        try:
            yield
        finally:
            ended.set()


def _near(expected: float, found: float) -> bool:
    return abs(expected - found) <= TOLERANCE
