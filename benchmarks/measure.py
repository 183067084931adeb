"""Throughput through the router, as a share of loops that ran in turns with it in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.cluster import BenchCluster
from benchmarks.load import Method
from benchmarks.reference import Reference
from benchmarks.roofline import Items, Rate, Roofline, Way

ROUNDS: Final = 5
SECONDS: Final = 30.0

NOUNS: Final[Mapping[Method, str]] = {"embed": "paragraphs", "rerank": "passages", "nli": "pairs"}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """How a part of the measurements is run.

    Attributes:
        folder: Where its files may be written.
        tell: Is told how it is coming along.
        rounds: How often each load and each loop runs.
        seconds: How long the lifecycle is watched, per scenario.
        reference_python: A Python interpreter with sentence-transformers; None if there is none.
        divisor: By how much there is less of everything than in a real run.
    """

    folder: Path
    tell: Tell
    rounds: int = ROUNDS
    seconds: float = SECONDS
    reference_python: Path | None = None
    divisor: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """How texts, passages or pairs are sent.

    Attributes:
        method: Which method is called.
        items: How many texts, passages or pairs are sent in all.
        per_call: How many of them in one call.
        callers: How many calls are under way at any time.
        least: Least share of the plain loop that is aimed at; None where none is.
    """

    method: Method
    items: int
    per_call: int
    callers: int
    least: float | None

    def divided(self, divisor: int) -> Load:
        """Return the load with fewer items, in whole calls, at least one."""
        return replace(self, items=max(1, self.items // self.per_call // divisor) * self.per_call)

    def __str__(self) -> str:
        calls = "one per call" if self.per_call == 1 else f"{self.per_call} per call"
        callers = "one caller" if self.callers == 1 else f"{self.callers} callers"
        return f"{self.items:,} {NOUNS[self.method]}, {calls}, {callers}"


@dataclass(frozen=True, slots=True)
class PerCall:
    """Processor time of one call, in seconds.

    Attributes:
        router: What the router took.
        engine: What the engine service took, inference included.
        callers: What the load generator took.
        loop: What the plain loop takes for the texts of one call, tokenizing counted.
    """

    router: float
    engine: float
    callers: float
    loop: float


@dataclass(frozen=True, slots=True)
class Round:
    """What one load did in one round, and what the plain loops did just before.

    Attributes:
        rate: Texts or pairs per second, through the router.
        padding_efficiency: Real tokens divided by padded ones.
        per_call: Processor time.
        loops: The fastest ways to loop.
        references: Pairs per second of the reference, by its batch size; empty if there is none.
    """

    rate: float
    padding_efficiency: float
    per_call: PerCall
    loops: list[Rate]
    references: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one load did, against the plain loop that leaves it the smallest share; medians over rounds.

    Attributes:
        rate: Texts or pairs per second, through the router.
        padding_efficiency: Real tokens divided by padded ones.
        per_call: Processor time.
        of_loop: As a share of the plain loop, tokenizing counted on both sides.
        of_loop_from_tokens: As a share of the loop that finds its texts tokenized.
        loop: Which loop it was.
        of_references: As a multiple of the reference, by its batch size; empty if there is none.
    """

    rate: float
    padding_efficiency: float
    per_call: PerCall
    of_loop: float
    of_loop_from_tokens: float
    loop: Way
    of_references: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rivals:
    """What the cluster is compared with.

    Attributes:
        items: What they are given: the same texts or pairs that the loads send.
        roofline: The plain loops.
        reference: sentence-transformers; None where it has nothing to do with the method.
    """

    items: Items
    roofline: Roofline
    reference: Reference | None = None


def throughput(
    cluster: BenchCluster, rivals: Rivals, loads: Sequence[Load], setting: Setting
) -> list[Throughput]:
    """Run the rivals and each load in turns; return a result per load. All loads send the same items."""
    rounds: dict[Load, list[Round]] = {load: [] for load in loads}
    for number in range(1, setting.rounds + 1):
        loops = rivals.roofline.rates(rivals.items)
        references = rivals.reference.rates(rivals.items) if rivals.reference else {}
        compared = f"plain loop {max(loop.from_texts for loop in loops):.0f}"
        if references:
            compared += f", CrossEncoder.predict {max(references.values()):.0f}"
        for load in loads:
            one = _round(cluster, load, loops, references)
            rounds[load].append(one)
            setting.tell(f"round {number} of {setting.rounds}: {load}: {one.rate:.0f} per second, {compared}")
    return [_medians(rounds[load]) for load in loads]


def _round(cluster: BenchCluster, load: Load, loops: list[Rate], references: Mapping[int, float]) -> Round:
    padding, processor = cluster.padding(), cluster.processor()
    tally = cluster.load(load.items, per_call=load.per_call, callers=load.callers)
    later, calls = cluster.processor(), len(tally.latencies)
    return Round(
        rate=tally.items / tally.seconds,
        padding_efficiency=cluster.padding().efficiency_since(padding),
        per_call=PerCall(
            router=(later.router - processor.router) / calls,
            engine=(later.engine - processor.engine) / calls,
            callers=tally.processor_seconds / calls,
            loop=min(loop.processor_seconds for loop in loops) * load.per_call,
        ),
        loops=loops,
        references=references,
    )


def _medians(rounds: list[Round]) -> Throughput:
    references = {
        size: statistics.median(one.rate / one.references[size] for one in rounds)
        for size in rounds[0].references
    }
    shares = [
        Throughput(
            rate=statistics.median(one.rate for one in rounds),
            padding_efficiency=statistics.median(one.padding_efficiency for one in rounds),
            per_call=_median_per_call([one.per_call for one in rounds]),
            of_loop=statistics.median(one.rate / one.loops[place].from_texts for one in rounds),
            of_loop_from_tokens=statistics.median(one.rate / one.loops[place].from_tokens for one in rounds),
            loop=way.way,
            of_references=references,
        )
        for place, way in enumerate(rounds[0].loops)
    ]
    return min(shares, key=lambda share: share.of_loop)


def _median_per_call(rounds: Sequence[PerCall]) -> PerCall:
    return PerCall(
        router=statistics.median(one.router for one in rounds),
        engine=statistics.median(one.engine for one in rounds),
        callers=statistics.median(one.callers for one in rounds),
        loop=statistics.median(one.loop for one in rounds),
    )
