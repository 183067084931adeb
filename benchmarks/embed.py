"""Embedding: throughput, what the way through router and service costs, and what the service needs."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.cluster import BenchCluster, Memory, Served
from benchmarks.corpus import paragraphs, typical_paragraph
from benchmarks.measure import Load, Rivals, Setting, Tell, throughput
from benchmarks.models import SOURCE, default_model
from benchmarks.report import Row, Section, processor_row, throughput_rows
from benchmarks.roofline import Plain, Roofline
from services.inference.graph.heads import EmbeddingHead

TEXTS: Final = 2048
SEARCHED_TEXTS: Final = 512
FINALISTS: Final = 3
MAX_TOKENS: Final = 256
LATENCY_ROUNDS: Final = 7
LATENCY_CALLS: Final = 200
EARLY_REQUESTS: Final = 2_000
ALL_REQUESTS: Final = 20_000

MODELS: Final = f"""
[models.minilm]
capability = "embed"
source = "{SOURCE}"
pooling = "mean"
max_input_tokens = {MAX_TOKENS}
"""

IN_BULK: Final = Load("embed", TEXTS, per_call=32, callers=4, least=0.92)
ONE_BY_ONE: Final = Load("embed", TEXTS, per_call=1, callers=32, least=0.80)


def measure(setting: Setting) -> Section:
    """Run everything that concerns the embed service."""
    loads = [load.divided(setting.divisor) for load in (IN_BULK, ONE_BY_ONE)]
    texts = paragraphs(loads[0].items)
    first = texts[: SEARCHED_TEXTS // setting.divisor]
    with BenchCluster(setting.folder, Served("embed", MODELS)) as cluster:
        plain = Plain(default_model(), EmbeddingHead("mean"), MAX_TOKENS)
        roofline = Roofline(plain, setting.folder / "plain")
        setting.tell("searching for the fastest plain loop")
        searched = roofline.narrow_down(first, FINALISTS)
        idle = _latency(cluster, roofline, setting.tell)
        results = throughput(cluster, Rivals(texts, roofline), loads, setting)
        needs = _lean(cluster, setting)
    rows = [row for pair in zip(loads, results, strict=True) for row in throughput_rows(*pair)]
    rows += [_latency_row(idle), *_lean_rows(needs), processor_row(loads[1], results[1])]
    return Section("Embedding", rows, searched, f"the first {len(first)} texts")


@dataclass(frozen=True, slots=True)
class Latency:
    """One text, one caller, nothing else going on; medians, in milliseconds."""

    router: float
    session: float

    @property
    def overhead(self) -> float:
        """What the way through router and service adds to the run."""
        return self.router - self.session


def _latency(cluster: BenchCluster, roofline: Roofline, tell: Tell) -> Latency:
    """Time calls and bare runs of the same text in turns."""
    text = typical_paragraph()
    rounds = []
    for number in range(1, LATENCY_ROUNDS + 1):
        session = roofline.latency(text, LATENCY_CALLS)
        calls = cluster.load(LATENCY_CALLS, per_call=1, callers=1, different=1).latencies
        rounds.append(Latency(statistics.median(calls) * 1000, session * 1000))
        tell(f"latency round {number} of {LATENCY_ROUNDS}: {rounds[-1].overhead:.2f} ms more than the run")
    return Latency(
        statistics.median(one.router for one in rounds), statistics.median(one.session for one in rounds)
    )


@dataclass(frozen=True, slots=True)
class Lean:
    """What one embed service needs.

    Attributes:
        start_seconds: From its start to SERVING, the graph being cached.
        counts: After how many requests its memory was read.
        early: Its memory after the fewer requests.
        late: Its memory after all of them.
    """

    start_seconds: float
    counts: tuple[int, int]
    early: Memory
    late: Memory


def _lean(cluster: BenchCluster, setting: Setting) -> Lean:
    """Restart the embed service, then send it requests and watch its memory."""
    tell, (few, all_) = setting.tell, (count // setting.divisor for count in (EARLY_REQUESTS, ALL_REQUESTS))
    start_seconds = cluster.restart_engine()
    tell(f"the embed service was SERVING after {start_seconds:.2f} s")
    cluster.load(few, per_call=1, callers=32)
    early = cluster.memory()
    tell(f"{few:,} requests: {early.resident:.0f} MB, {early.own:.0f} of its own")
    began = time.perf_counter()
    cluster.load(all_ - few, per_call=1, callers=32, different=TEXTS)
    late = cluster.memory()
    seconds = time.perf_counter() - began
    tell(f"{all_:,} requests: {late.resident:.0f} MB, {late.own:.0f} of its own ({seconds:.0f} s)")
    return Lean(start_seconds, (few, all_), early, late)


def _latency_row(result: Latency) -> Row:
    return Row(
        "one text, one caller, idle: p50 through the router minus p50 of the bare run",
        f"{result.overhead:.2f} ms ({result.router:.2f} - {result.session:.2f})",
        "≤ 2 ms",
        result.overhead <= 2,
    )


def _lean_rows(result: Lean) -> list[Row]:
    growth = result.late.resident - result.early.resident
    return [
        Row(
            "embed service: start to SERVING, graph cached",
            f"{result.start_seconds:.2f} s",
            "≤ 3 s",
            result.start_seconds <= 3,
        ),
        Row(
            f"embed service: resident memory after {result.counts[1]:,} requests",
            f"{result.late.resident:.0f} MB",
            "≤ 450 MB",
            result.late.resident <= 450,
        ),
        Row(
            f"embed service: growth of it between request {result.counts[0]:,} and {result.counts[1]:,}",
            f"{growth:+.1f} MB ({growth / result.early.resident:+.1%})",
            "none (within 2 %)",
            growth <= 0.02 * result.early.resident,
        ),
    ]
