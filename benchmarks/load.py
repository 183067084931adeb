"""The load generator: callers in a closed loop, in a process of their own.

`python -m benchmarks.load --help` runs it against any address. Requests are serialized before the clock
starts, and answers are not read: what is timed is the cluster, not this program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import Final, Literal, get_args

from services.config import environment

environment.prepare_native_libraries()

# Only now: gRPC reads its environment once, when it is imported.
import grpc  # noqa: E402
import uvloop  # noqa: E402
from inglenook.common.v1 import Truncation  # noqa: E402
from inglenook.embed.v1 import EmbedRequest, Encoding  # noqa: E402
from inglenook.nli.v1 import InferRequest, Pair  # noqa: E402
from inglenook.rerank.v1 import RerankRequest  # noqa: E402

from benchmarks.corpus import paragraphs, searches, sentence_pairs, typical_paragraph  # noqa: E402

Method = Literal["embed", "rerank", "nli"]
Metadata = tuple[tuple[str, str], ...]

PATHS: Final[dict[Method, str]] = {
    "embed": "/inglenook.embed.v1.EmbedService/Embed",
    "rerank": "/inglenook.rerank.v1.RerankService/Rerank",
    "nli": "/inglenook.nli.v1.NliService/Infer",
}
TIMEOUT_SECONDS: Final = 60
CUT: Final = Truncation.TRUNCATION_RIGHT


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is ready to be sent.

    Attributes:
        items: Texts, passages or pairs in it.
        content: Its bytes.
    """

    items: int
    content: bytes


@dataclass(slots=True)
class Tally:
    """What the callers saw.

    Attributes:
        seconds: From the first request to the last answer.
        processor_seconds: What this process itself took of the processor meanwhile.
        items: Texts, passages or pairs that were answered.
        latencies: How long each call took, in seconds, in the order of the answers.
        failures: Status codes of calls that failed.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    items: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def run(address: str, path: str, calls: Sequence[Call], callers: int, metadata: Metadata = ()) -> Tally:
    """Send `calls` with `callers` of them under way at any time, all with the same `metadata`."""
    tally = Tally()
    waiting = iter(calls)
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        await send(calls[0].content, timeout=TIMEOUT_SECONDS, metadata=metadata)

        async def caller() -> None:
            for call in waiting:
                began = time.perf_counter()
                try:
                    await send(call.content, timeout=TIMEOUT_SECONDS, metadata=metadata)
                except grpc.aio.AioRpcError as error:
                    tally.failures.append(error.code().name)
                else:
                    tally.items += call.items
                    tally.latencies.append(time.perf_counter() - began)

        began, processor_began = time.perf_counter(), time.process_time()
        await asyncio.gather(*(caller() for _ in range(callers)))
        tally.seconds = time.perf_counter() - began
        tally.processor_seconds = time.process_time() - processor_began
    return tally


def embed_calls(model: str, texts: Sequence[str], per_call: int) -> list[Call]:
    """Return calls of Embed."""
    return [
        _call(
            len(part),
            EmbedRequest(model=model, inputs=part, encoding=Encoding.ENCODING_FLOAT32, truncation=CUT),
        )
        for part in (texts[first : first + per_call] for first in range(0, len(texts), per_call))
    ]


def rerank_calls(model: str, passages: int, per_call: int) -> list[Call]:
    """Return calls of Rerank."""
    return [
        _call(
            len(search.passages),
            RerankRequest(model=model, query=search.query, documents=search.passages, truncation=CUT),
        )
        for search in searches(passages, per_call)
    ]


def nli_calls(model: str, count: int, per_call: int) -> list[Call]:
    """Return calls of Infer."""
    pairs = [Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in sentence_pairs(count)]
    return [
        _call(len(part), InferRequest(model=model, pairs=part, truncation=CUT))
        for part in (pairs[first : first + per_call] for first in range(0, count, per_call))
    ]


def _call(items: int, request: EmbedRequest | RerankRequest | InferRequest) -> Call:
    return Call(items, request.SerializeToString())


def _calls(options: argparse.Namespace) -> list[Call]:
    if options.method == "rerank":
        return rerank_calls(options.model, options.texts, options.per_call)
    if options.method == "nli":
        return nli_calls(options.model, options.texts, options.per_call)
    different = options.different or options.texts
    corpus = [typical_paragraph()] if different == 1 else paragraphs(different)
    return embed_calls(options.model, list(islice(cycle(corpus), options.texts)), options.per_call)


def main() -> None:
    """Print a tally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="host:port of a router or of an engine service")
    parser.add_argument("--method", choices=get_args(Method), default="embed", help="default: embed")
    parser.add_argument("--model", default="", help="public name; default: the only one of its kind")
    parser.add_argument("--texts", type=int, required=True, help="how many texts, passages or pairs in all")
    parser.add_argument("--per-call", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument(
        "--different", type=int, help="embed only: how many different texts; 1 takes a typical one"
    )
    parser.add_argument(
        "--cache", choices=("on", "off", "refresh", "read-only"), help="cache mode; default: the router's"
    )
    options = parser.parse_args()
    metadata = (("inglenook-cache", options.cache),) if options.cache else ()
    tally = uvloop.run(
        run(options.address, PATHS[options.method], _calls(options), options.callers, metadata)
    )
    json.dump(asdict(tally), sys.stdout)


if __name__ == "__main__":
    main()
