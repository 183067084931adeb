"""What router and chat add to a call, against a provider that answers at once."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.chat_cluster import ChatCluster
from benchmarks.chat_load import Tally
from benchmarks.measure import Setting
from benchmarks.report import Row, Section

SHORT: Final = "instant-5"
LONG: Final = "instant-500"
PACED: Final = "paced-50-250"
FLOOD: Final = "flood-100000000"

TOKENS: Final = 500
MOST_ADDED_SECONDS: Final = 0.0025
LEAST_CALLS_PER_SECOND: Final = 500
MOST_ADDED_FIRST_TOKEN_SECONDS: Final = 0.003
MOST_ADDED_TOKEN_SECONDS: Final = 0.0002
STREAMS: Final = 64
MORE_STREAMS: Final = (96, 128, 192, 256, 384)
MOST_MEGABYTES: Final = 250
MOST_START_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """Calls by one caller: which way through the cluster, which model, how many, and what counts."""

    way: str
    model: str
    calls: int
    of: Callable[[Tally], float]


@dataclass(frozen=True, slots=True)
class Added:
    """Three ways to make the same calls, one after the other in each round; medians over rounds, in seconds.

    Attributes:
        direct: With a bare socket.
        client: With httpx2.
        through: Through the cluster.
    """

    direct: float
    client: float
    through: float

    @property
    def seconds(self) -> float:
        """What the way through the cluster takes more than the program's own HTTP client."""
        return self.through - self.client

    @property
    def over_socket(self) -> float:
        """What it takes more than a bare socket."""
        return self.through - self.direct


def measure(setting: Setting) -> Section:
    """Measure calls, streams and memory."""
    with ChatCluster(setting.folder, (SHORT, LONG, PACED, FLOOD)) as cluster:
        idle = cluster.resident_megabytes("chat")
        rows = [
            *_calls(cluster, setting),
            *_streams(cluster, setting),
            *_many_streams(cluster, setting),
            *_slow_readers(cluster, setting),
        ]
        memory = {name: cluster.resident_megabytes(name) for name in ("chat", "router")}
        rows += [
            Row(
                "memory after all of this",
                f"chat {memory['chat']:.0f} MB (idle {idle:.0f} MB), router {memory['router']:.0f} MB",
                f"≤ {MOST_MEGABYTES} MB each",
                max(memory.values()) <= MOST_MEGABYTES,
            ),
            Row(
                "chat: from start to SERVING",
                f"{cluster.start_seconds:.2f} s",
                f"≤ {MOST_START_SECONDS:.0f} s",
                cluster.start_seconds <= MOST_START_SECONDS,
            ),
        ]
    return Section("Chat", rows)


def _calls(cluster: ChatCluster, setting: Setting) -> list[Row]:
    calls = 1000 // setting.divisor
    added = _added(cluster, setting, Load("complete", SHORT, calls, _latency))
    rates = []
    for number in range(setting.rounds):
        tally = cluster.load("complete", SHORT, calls=4000 // setting.divisor, callers=16)
        rates.append(len(tally.latencies) / tally.seconds)
        setting.tell(f"round {number + 1} of {setting.rounds}: {rates[-1]:.0f} calls/s at 16 callers")
    rate = statistics.median(rates)
    return [
        Row(
            "Complete, one caller: added to the call, p50",
            _milliseconds(added),
            f"≤ {MOST_ADDED_SECONDS * 1000:g} ms",
            added.seconds <= MOST_ADDED_SECONDS,
        ),
        Row(
            "Complete, 16 callers",
            f"{rate:.0f} calls/s",
            f"≥ {LEAST_CALLS_PER_SECOND} calls/s",
            rate >= LEAST_CALLS_PER_SECOND,
        ),
    ]


def _streams(cluster: ChatCluster, setting: Setting) -> list[Row]:
    calls = 1000 // setting.divisor
    first = _added(cluster, setting, Load("chat", SHORT, calls, _first_token))
    whole = _added(cluster, setting, Load("chat", LONG, 100 // setting.divisor, _latency))
    paced = _added(cluster, setting, Load("chat", PACED, 1, _delay))
    per_token = whole.over_socket / TOKENS
    return [
        Row(
            "Chat, one caller: added to the first token, p50",
            _milliseconds(first),
            f"≤ {MOST_ADDED_FIRST_TOKEN_SECONDS * 1000:g} ms",
            first.seconds <= MOST_ADDED_FIRST_TOKEN_SECONDS,
        ),
        Row(
            f"Chat, {TOKENS} tokens at once: added per token",
            f"{per_token * 1000:.4f} ms",
            f"≤ {MOST_ADDED_TOKEN_SECONDS * 1000:g} ms",
            per_token <= MOST_ADDED_TOKEN_SECONDS,
        ),
        Row("Chat, one stream of 50 tokens/s: a token's way, p50", _milliseconds(paced)),
    ]


def _many_streams(cluster: ChatCluster, setting: Setting) -> list[Row]:
    carried, told = 0, ""
    for streams in (STREAMS, *MORE_STREAMS):
        tally = cluster.load("chat", PACED, calls=streams, callers=streams)
        way = statistics.median(tally.delays) * 1000
        line = f"{streams} streams: {tally.stalls} stalls, longest gap {tally.longest_gap * 1000:.0f} ms"
        setting.tell(f"{line}, a token's way p50 {way:.1f} ms")
        if streams == STREAMS:
            told = f"{tally.stalls} stalls, longest gap {tally.longest_gap * 1000:.0f} ms, p50 {way:.1f} ms"
        if tally.stalls:
            break
        carried = streams
    return [
        Row(f"{STREAMS} streams of 50 tokens/s: gaps over 200 ms", told, "no stall", carried >= STREAMS),
        Row("most streams of 50 tokens/s without a stall, of those tried", f"{carried}"),
    ]


def _slow_readers(cluster: ChatCluster, setting: Setting) -> list[Row]:
    before = cluster.resident_megabytes("chat"), cluster.resident_megabytes("router")
    cluster.load("slow", FLOOD, calls=STREAMS, callers=STREAMS, seconds=setting.seconds / 3)
    after = cluster.resident_megabytes("chat"), cluster.resident_megabytes("router")
    return [
        Row(
            f"{STREAMS} readers of 4 events/s, a provider without end: memory",
            f"chat {before[0]:.0f} to {after[0]:.0f} MB, router {before[1]:.0f} to {after[1]:.0f} MB",
            f"≤ {MOST_MEGABYTES} MB each",
            max(after) <= MOST_MEGABYTES,
        )
    ]


def _added(cluster: ChatCluster, setting: Setting, load: Load) -> Added:
    times: dict[str, list[float]] = {way: [] for way in ("direct", "httpx2", load.way)}
    for number in range(setting.rounds):
        for way, seen in times.items():
            seen.append(load.of(cluster.load(way, load.model, calls=load.calls, callers=1)))
        line = ", ".join(f"{way} {seen[-1] * 1000:.2f} ms" for way, seen in times.items())
        setting.tell(f"round {number + 1} of {setting.rounds}: {load.model}: {line}")
    return Added(*(statistics.median(seen) for seen in times.values()))


def _latency(tally: Tally) -> float:
    return statistics.median(tally.latencies)


def _first_token(tally: Tally) -> float:
    return statistics.median(tally.first_tokens)


def _delay(tally: Tally) -> float:
    return statistics.median(tally.delays)


def _milliseconds(added: Added) -> str:
    through, client = added.through * 1000, added.client * 1000
    return (
        f"{added.seconds * 1000:.2f} ms ({through:.2f} against {client:.2f} with httpx2; "
        f"{added.over_socket * 1000:.2f} more than a bare socket)"
    )
