"""Models that come and go: three of them in a memory budget for two, and loading and unloading under load."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import numpy as np
import uvloop

from benchmarks.callers import NO_RETRIES, Callers, Calls, Known, Moves, Vectors
from benchmarks.cluster import BenchCluster, Served
from benchmarks.corpus import paragraphs
from benchmarks.measure import Setting
from benchmarks.models import write_relative
from benchmarks.report import Row, Section
from benchmarks.roofline import Plain, Roofline
from services.inference.graph.heads import EmbeddingHead

T = TypeVar("T")

MODELS: Final = ("first", "second", "third")
STAYS, MOVES = MODELS[:2]
TEXTS: Final = 64
CALLERS_EACH: Final = 4
MAX_TOKENS: Final = 256
WARM_SECONDS: Final = 2.0
SAMPLE_SECONDS: Final = 0.01

SECTION: Final = """
[models.{name}]
capability = "embed"
source = "dir:{name}"
pooling = "mean"
max_input_tokens = {max_tokens}
preload = false
"""


def measure(setting: Setting) -> Section:
    """Run both scenarios: the first without a budget, which also shows what two and three models take."""
    known = _known(setting)
    sections = "".join(SECTION.format(name=name, max_tokens=MAX_TOKENS) for name in MODELS)
    free, tight, cache = (setting.folder / name for name in ("free", "tight", "cache"))
    for folder in (free, tight):
        folder.mkdir()
        for name in MODELS:
            (folder / name).symlink_to(setting.folder / name, target_is_directory=True)
    with BenchCluster(free, Served("embed", sections), cache) as cluster:
        sizes = _with_callers(cluster, known, lambda callers: _grow(cluster, callers))
        setting.tell(f"lifecycle: {', '.join(f'{size:.0f}' for size in sizes)} MB with 0 to 3 models")
        moving = _with_callers(cluster, known, lambda callers: _move(callers, setting.seconds))
        setting.tell(f"lifecycle: {moving.moves.loads} loads and unloads under load")
    budget = round((sizes[2] + sizes[3]) / 2)
    served = Served("embed", sections, f"memory_budget_mb = {budget}")
    with BenchCluster(tight, served, cache) as cluster:
        held = _with_callers(cluster, known, lambda callers: _hold(cluster, callers, budget, setting.seconds))
        setting.tell(f"lifecycle: {held.evictions:.0f} evictions under a budget of {budget} MB")
    return Section("Models that come and go", [*_held_rows(held, sizes), *_moving_rows(moving)])


@dataclass(frozen=True, slots=True)
class Held:
    """What three models did in a budget for two.

    Attributes:
        budget: The budget, in megabytes.
        seconds: How long they were called, until the last answer.
        calls: What the callers of each model saw.
        sampled: Resident memory, in megabytes, every `SAMPLE_SECONDS`.
        peak: The most that it ever was, by the kernel's count, the service's start included.
        loads: How many models were loaded.
        load_seconds: How long all loads took together, without the time that they waited for memory.
        evictions: How many models had to make room.
    """

    budget: float
    seconds: float
    calls: Mapping[str, Calls]
    sampled: Sequence[float]
    peak: float
    loads: float
    load_seconds: float
    evictions: float


@dataclass(frozen=True, slots=True)
class Moving:
    """What callers saw while one of two models was unloaded and loaded again and again.

    Attributes:
        quiet: What callers of both saw before that.
        calls: What they saw meanwhile.
        moves: What was done.
    """

    quiet: Mapping[str, Calls]
    calls: Mapping[str, Calls]
    moves: Moves


def _known(setting: Setting) -> Known:
    """Write three models with the same size and different numbers, and compute what each of them answers."""
    texts = paragraphs(TEXTS)
    vectors: dict[str, Vectors] = {}
    for seed, name in enumerate(MODELS):
        model = Plain(write_relative(setting.folder / name, seed), EmbeddingHead("mean"), MAX_TOKENS)
        found = Roofline(model, setting.folder / "plain").answers(texts)
        vectors[name] = found / np.linalg.norm(found, axis=1, keepdims=True)
    gc.collect()  # the sessions are of no more use
    setting.tell("lifecycle: three models written, and what they answer computed")
    return Known(texts, vectors)


def _with_callers(cluster: BenchCluster, known: Known, act: Callable[[Callers], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with grpc.aio.insecure_channel(cluster.address, options=NO_RETRIES) as channel:
            return await act(Callers(channel, known, CALLERS_EACH))

    return uvloop.run(connected())


async def _grow(cluster: BenchCluster, callers: Callers) -> list[float]:
    """Load and call one model after the other; return the resident memory with 0, 1, 2 and 3 of them."""
    sizes = [cluster.memory().resident]
    for count, name in enumerate(MODELS, start=1):
        await callers.load(name)
        await callers.call(MODELS[:count], WARM_SECONDS)
        sizes.append(cluster.memory().resident)
    return sizes


async def _hold(cluster: BenchCluster, callers: Callers, budget: float, seconds: float) -> Held:
    sampled: list[float] = []

    async def sample() -> None:
        while True:
            sampled.append(cluster.memory().resident)
            await asyncio.sleep(SAMPLE_SECONDS)

    sampling = asyncio.create_task(sample())
    began = time.perf_counter()
    calls = await callers.call(MODELS, seconds)
    lasted = time.perf_counter() - began
    sampling.cancel()
    await asyncio.wait([sampling])
    return Held(
        budget=budget,
        seconds=lasted,
        calls=calls,
        sampled=sampled,
        peak=cluster.memory().peak,
        loads=cluster.metric("inglenook_model_load_seconds_count"),
        load_seconds=cluster.metric("inglenook_model_load_seconds_sum"),
        evictions=cluster.metric("inglenook_model_unloads_total", cause="evicted"),
    )


async def _move(callers: Callers, seconds: float) -> Moving:
    models = (STAYS, MOVES)
    quiet = await callers.call(models, seconds / 3)
    moving = asyncio.create_task(callers.move(MOVES, seconds))
    calls = await callers.call(models, seconds)
    return Moving(quiet, calls, await moving)


def _held_rows(held: Held, sizes: Sequence[float]) -> list[Row]:
    over = sum(one > held.budget for one in held.sampled) / len(held.sampled)
    return [
        Row(
            f"three models in a budget of {held.budget:.0f} MB (two take {sizes[2]:.0f}, three "
            f"{sizes[3]:.0f}), {CALLERS_EACH} callers each, {held.seconds:.0f} s: answers that are the "
            "model's own",
            _rightness(held.calls),
            "all",
            _all_right(held.calls),
        ),
        Row("… calls of each model", ", ".join(f"{one.made:,}" for one in held.calls.values())),
        Row(
            "… loads, and evictions",
            f"{held.loads:.0f}, {held.evictions:.0f}",
            "some",
            held.evictions > 0,
        ),
        Row(
            "… most resident memory, by the kernel's count",
            f"{held.peak:.0f} MB (sampled every {SAMPLE_SECONDS * 1000:.0f} ms: {max(held.sampled):.0f} MB)",
            f"≤ {held.budget:.0f} MB",
            held.peak <= held.budget,
        ),
        Row("… share of the time above the budget", f"{over:.2%}", "none", over == 0),
        Row(
            "… time that loads took, added up, as a share of the time measured",
            f"{held.load_seconds / held.seconds:.0%}",
        ),
        Row("… p50 and longest call", _times([s for one in held.calls.values() for s in one.seconds])),
    ]


def _moving_rows(moving: Moving) -> list[Row]:
    load = statistics.median(moving.moves.load_seconds)
    stays = moving.calls[STAYS].seconds
    return [
        Row(
            f"one of two models unloaded and loaded again {moving.moves.loads} times, "
            f"{CALLERS_EACH} callers each: answers that are the model's own",
            _rightness(moving.calls),
            "all",
            _all_right(moving.calls),
        ),
        Row(
            "… calls that were lost",
            f"{sum(len(one.failures) for one in moving.calls.values())}",
            "none",
            not any(one.failures for one in moving.calls.values()),
        ),
        Row(
            "… longest call of the model that stays",
            f"{max(stays) * 1000:.0f} ms (p50 {statistics.median(stays) * 1000:.1f}; "
            f"before, {_times(moving.quiet[STAYS].seconds)})",
            f"< {load * 1000:.0f} ms, one load",
            max(stays) < load,
        ),
        Row("… p50 and longest call of the model that moves", _times(moving.calls[MOVES].seconds)),
    ]


def _rightness(calls: Mapping[str, Calls]) -> str:
    made, right = (
        sum(values) for values in zip(*((one.made, one.right) for one in calls.values()), strict=True)
    )
    failures = sorted({code for one in calls.values() for code in one.failures})
    return f"{right:,} of {made:,}" + (f" (failed: {', '.join(failures)})" if failures else "")


def _all_right(calls: Mapping[str, Calls]) -> bool:
    return all(one.right and one.right == one.made for one in calls.values())


def _times(seconds: Sequence[float]) -> str:
    return f"p50 {statistics.median(seconds) * 1000:.1f} ms, longest {max(seconds) * 1000:.0f} ms"
