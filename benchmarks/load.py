"""The load generator: callers in a closed loop, in a process of their own.

`python -m benchmarks.load --help` runs it against any address.
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

from services.config import environment

environment.prepare_native_libraries()

# Only now: gRPC reads its environment once, when it is imported.
import grpc  # noqa: E402
import uvloop  # noqa: E402
from inglenook.common.v1 import Truncation  # noqa: E402
from inglenook.embed.v1 import EmbedRequest, Encoding  # noqa: E402

from benchmarks.corpus import paragraphs, typical_paragraph  # noqa: E402

METHOD = "/inglenook.embed.v1.EmbedService/Embed"


@dataclass(slots=True)
class Tally:
    """What the callers saw.

    Attributes:
        seconds: From the first request to the last answer.
        texts: Texts embedded.
        latencies: How long each call took, in seconds, in the order of the answers.
        failures: Status codes of calls that failed.
    """

    seconds: float = 0.0
    texts: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def run(address: str, calls: Sequence[Sequence[str]], callers: int) -> Tally:
    """Send `calls`, lists of texts, with `callers` of them under way at any time."""
    tally = Tally()
    waiting = iter([(len(texts), _request(texts).SerializeToString()) for texts in calls])
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        embed: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        await embed(_request(calls[0]).SerializeToString(), timeout=60)

        async def caller() -> None:
            for size, content in waiting:
                began = time.perf_counter()
                try:
                    await embed(content, timeout=60)
                except grpc.aio.AioRpcError as error:
                    tally.failures.append(error.code().name)
                else:
                    tally.texts += size
                    tally.latencies.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        tally.seconds = time.perf_counter() - began
    return tally


def _request(texts: Sequence[str]) -> EmbedRequest:
    return EmbedRequest(
        model="minilm",
        inputs=texts,
        encoding=Encoding.ENCODING_FLOAT32,
        truncation=Truncation.TRUNCATION_RIGHT,
    )


def main() -> None:
    """Print a tally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="host:port of a router or an embed service")
    parser.add_argument("--texts", type=int, required=True, help="how many texts are sent in all")
    parser.add_argument("--per-call", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--different", type=int, help="how many different texts; 1 takes a typical one")
    options = parser.parse_args()

    different = options.different or options.texts
    corpus = [typical_paragraph()] if different == 1 else paragraphs(different)
    texts = list(islice(cycle(corpus), options.texts))
    calls = [texts[first : first + options.per_call] for first in range(0, len(texts), options.per_call)]
    json.dump(asdict(uvloop.run(run(options.address, calls, options.callers))), sys.stdout)


if __name__ == "__main__":
    main()
