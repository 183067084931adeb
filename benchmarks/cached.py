"""The router's cache: how fast it answers what it knows, and what it costs when it knows nothing."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from inglenook.embed.v1 import Embedding, EmbedResponse
from inglenook.router.v1 import PurgeCacheRequest, RouterServiceStub
from prometheus_client import CollectorRegistry

from benchmarks.cluster import BenchCluster, Served, free_ports
from benchmarks.embed import MODELS
from benchmarks.load import Tally
from benchmarks.measure import Setting
from benchmarks.report import Row, Section
from services.config import Cache as CacheSection
from services.router.cache.cache import open_cache
from services.router.cache.key import KeySpace
from services.router.cache.metrics import CacheMetrics

DIMENSIONS: Final = 384
DIFFERENT: Final = 2048
WARM_TEXTS: Final = 131_072
SINGLE_CALLS: Final = 20_000
COLD_TEXTS: Final = 2048
COLD_CALLERS: Final = 4
CALLERS: Final = 16
HUNG_LOOKUPS: Final = 20_000
READY_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Round:
    """Rates of one round, in texts or calls per second.

    Attributes:
        warm: Cached texts, 32 per call.
        single: Cached texts, one per call.
        echo: Calls of the bare server, with answers of the same size.
        cold: Texts that are computed and kept.
        off: Texts that are computed, by calls that want no cache.
    """

    warm: float
    single: float
    echo: float
    cold: float
    off: float


def measure(setting: Setting) -> Section:
    """Run everything that concerns the cache, in turns."""
    with BenchCluster(setting.folder, Served("embed", MODELS, cache="memory:")) as cluster, _echo() as echo:
        rounds = [_round(cluster, echo, setting, number) for number in range(1, setting.rounds + 1)]
    warm = statistics.median(one.warm for one in rounds)
    single = statistics.median(one.single / one.echo for one in rounds)
    cost = statistics.median(1 - one.cold / one.off for one in rounds)
    rows = [
        Row(
            "cached texts, 32 per call, 16 callers",
            f"{warm:,.0f} texts/s",
            "≥ 30,000 texts/s",
            warm >= 30_000,
        ),
        Row(
            "a cached text, one per call, 16 callers: share of a bare grpc.aio server's rate",
            f"{single:.2f} ({_median(rounds, 'single'):,.0f} of {_median(rounds, 'echo'):,.0f} calls/s)",
            "≥ 0.7",
            single >= 0.7,
        ),
        Row(
            "texts that are not cached yet, 32 per call, 4 callers: throughput lost against cache off",
            f"{cost:.1%} ({_median(rounds, 'cold'):.0f} against {_median(rounds, 'off'):.0f} texts/s)",
            "≤ 3 %",
            cost <= 0.03,
        ),
        _hung_row(asyncio.run(_hung(HUNG_LOOKUPS // setting.divisor))),
    ]
    note = (
        "Router, embed service and load generator share the cores; medians of rounds that alternate the ways."
    )
    return Section("The cache", rows, note=note)


def _round(cluster: BenchCluster, echo: str, setting: Setting, number: int) -> Round:
    cold_texts = COLD_TEXTS // setting.divisor
    _purge(cluster.address)
    cold = cluster.load(cold_texts, per_call=32, callers=COLD_CALLERS)
    off = cluster.load(cold_texts, per_call=32, callers=COLD_CALLERS, more=("--cache", "off"))
    cluster.load(DIFFERENT, per_call=32, callers=CALLERS)  # whatever is still missing
    warm = cluster.load(WARM_TEXTS // setting.divisor, per_call=32, callers=CALLERS, different=DIFFERENT)
    calls = SINGLE_CALLS // setting.divisor
    single = cluster.load(calls, per_call=1, callers=CALLERS, different=DIFFERENT)
    bare = cluster.load(calls, per_call=1, callers=CALLERS, different=DIFFERENT, more=("--address", echo))
    one = Round(*map(_rate, (warm, single, bare, cold, off)))
    setting.tell(
        f"round {number} of {setting.rounds}: {one.warm:,.0f} cached texts/s; "
        f"{one.single:,.0f} cached calls/s, {one.echo:,.0f} of the bare server; "
        f"{one.cold:.0f} texts/s cold, {one.off:.0f} without a cache"
    )
    return one


def _rate(tally: Tally) -> float:
    return tally.items / tally.seconds


def _median(rounds: Sequence[Round], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in rounds))


def _purge(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        RouterServiceStub(channel).PurgeCache(PurgeCacheRequest(), timeout=READY_SECONDS)


@dataclass(frozen=True, slots=True)
class Hung:
    """What lookups of 32 texts cost while Redis takes connections and says nothing; in milliseconds.

    Attributes:
        before: The longest, until Redis is left alone.
        after: The 99th percentile from then on.
    """

    before: float
    after: float


async def _hung(lookups: int) -> Hung:
    """Look up texts in a cache whose Redis hangs."""
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()
    section = CacheSection(url=f"redis://{host}:{port}/0")
    space = KeySpace("embed", "minilm", ("fingerprint",))
    keys = [space.key(f"text {number}") for number in range(32)]
    cache = open_cache(section, CacheMetrics(CollectorRegistry()))
    times = []
    try:
        for _ in range(section.failure_threshold + lookups):
            began = time.perf_counter()
            await cache.get_many(keys)
            times.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0)
    finally:
        await cache.close()
        silent.close()
    until = section.failure_threshold
    return Hung(max(times[:until]), statistics.quantiles(times[until:], n=100)[-1])


def _hung_row(result: Hung) -> Row:
    return Row(
        "32 texts are looked up and Redis hangs: p99, once it is left alone",
        f"{result.after:.3f} ms (before that at most {result.before:.0f})",
        "≤ 5 ms",
        result.after <= 5,
    )


@contextmanager
def _echo() -> Iterator[str]:
    """Run the bare server with answers as large as that for one text; give its address."""
    size = len(EmbedResponse(embeddings=[Embedding(packed=bytes(4 * DIMENSIONS))]).SerializeToString())
    address = f"127.0.0.1:{free_ports('echo')['echo']}"
    command = [sys.executable, "-m", "benchmarks.echo", "--listen", address, "--bytes", str(size)]
    process = subprocess.Popen(command)
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=READY_SECONDS)
        yield address
    finally:
        process.terminate()
        process.wait()
