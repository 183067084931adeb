"""What is measured, each as a ratio or a difference of things that ran in turns in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.cluster import BenchCluster, Memory
from benchmarks.corpus import typical_paragraph
from benchmarks.roofline import Rate, Roofline, Way

TEXTS: Final = 2048
ROUNDS: Final = 5
LATENCY_ROUNDS: Final = 7
LATENCY_CALLS: Final = 200
EARLY_REQUESTS: Final = 2_000
ALL_REQUESTS: Final = 20_000

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """How texts are sent."""

    per_call: int
    callers: int

    def __str__(self) -> str:
        calls = "one per call" if self.per_call == 1 else f"{self.per_call} per call"
        return f"{TEXTS:,} paragraphs, {calls}, {self.callers} callers"


@dataclass(frozen=True, slots=True)
class Round:
    """What one load did in one round, and what the plain loops did just before.

    Attributes:
        texts_per_second: Through the router.
        padding_efficiency: Real tokens divided by padded ones.
        loops: The fastest ways to loop.
    """

    texts_per_second: float
    padding_efficiency: float
    loops: list[Rate]


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one load did, against the plain loop that leaves it the smallest share; medians over rounds.

    Attributes:
        texts_per_second: Through the router.
        padding_efficiency: Real tokens divided by padded ones.
        of_loop: As a share of the plain loop, tokenizing counted on both sides.
        of_loop_from_tokens: As a share of the loop that finds its texts tokenized.
        loop: Which loop it was.
    """

    texts_per_second: float
    padding_efficiency: float
    of_loop: float
    of_loop_from_tokens: float
    loop: Way


def throughput(cluster: BenchCluster, roofline: Roofline, loads: list[Load], tell: Tell) -> list[Throughput]:
    """Run the plain loops and each load in turns, `ROUNDS` times; return a result per load."""
    rounds: dict[Load, list[Round]] = {load: [] for load in loads}
    for number in range(1, ROUNDS + 1):
        loops = roofline.rates()
        best = max(loop.from_texts for loop in loops)
        for load in loads:
            before = cluster.padding()
            tally = cluster.load(TEXTS, per_call=load.per_call, callers=load.callers)
            rate = tally.texts / tally.seconds
            rounds[load].append(Round(rate, cluster.padding().efficiency_since(before), loops))
            tell(f"round {number} of {ROUNDS}: {load}: {rate:.0f} texts/s, plain loop {best:.0f}")
    return [_medians(rounds[load]) for load in loads]


def _medians(rounds: list[Round]) -> Throughput:
    shares = [
        Throughput(
            texts_per_second=statistics.median(one.texts_per_second for one in rounds),
            padding_efficiency=statistics.median(one.padding_efficiency for one in rounds),
            of_loop=statistics.median(one.texts_per_second / one.loops[place].from_texts for one in rounds),
            of_loop_from_tokens=statistics.median(
                one.texts_per_second / one.loops[place].from_tokens for one in rounds
            ),
            loop=way.way,
        )
        for place, way in enumerate(rounds[0].loops)
    ]
    return min(shares, key=lambda share: share.of_loop)


@dataclass(frozen=True, slots=True)
class Latency:
    """One text, one caller, nothing else going on; medians, in milliseconds."""

    router: float
    session: float

    @property
    def overhead(self) -> float:
        """What the way through router and service adds to the run."""
        return self.router - self.session


def latency(cluster: BenchCluster, roofline: Roofline, tell: Tell) -> Latency:
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
        early: Its memory after `EARLY_REQUESTS` requests.
        late: Its memory after `ALL_REQUESTS` requests.
    """

    start_seconds: float
    early: Memory
    late: Memory


def lean(cluster: BenchCluster, tell: Tell) -> Lean:
    """Restart the embed service, then send it requests and watch its memory."""
    start_seconds = cluster.restart_embed()
    tell(f"the embed service was SERVING after {start_seconds:.2f} s")
    cluster.load(EARLY_REQUESTS, per_call=1, callers=32)
    early = cluster.memory()
    tell(f"{EARLY_REQUESTS:,} requests: {early.resident:.0f} MB, {early.own:.0f} of its own")
    began = time.perf_counter()
    cluster.load(ALL_REQUESTS - EARLY_REQUESTS, per_call=1, callers=32, different=TEXTS)
    late = cluster.memory()
    seconds = time.perf_counter() - began
    tell(f"{ALL_REQUESTS:,} requests: {late.resident:.0f} MB, {late.own:.0f} of its own ({seconds:.0f} s)")
    return Lean(start_seconds, early, late)
