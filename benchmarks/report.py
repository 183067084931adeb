"""The measurements as tables, beside what is aimed at."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime

from benchmarks.measure import Load, Throughput
from benchmarks.reference import DEFAULT_BATCH_SIZE, Reference
from services.inference.cpus import usable_cpus

LEAST_PADDING_EFFICIENCY = 0.9
LEAST_OF_REFERENCE = 1.3


@dataclass(frozen=True, slots=True)
class Row:
    """One claim.

    Attributes:
        what: What was measured.
        measured: What came out.
        aim: What is aimed at; empty where nothing is.
        holds: Whether the aim was reached; None where there is none, or nothing was measured.
    """

    what: str
    measured: str
    aim: str = ""
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """The last column."""
        return {None: "", True: "ok", False: "MISSED"}[self.holds]


@dataclass(frozen=True, slots=True)
class Section:
    """What one part of the measurements showed.

    Attributes:
        title: Its heading.
        rows: The claims.
        searched: What the search for the best loop tried, in texts or pairs per second.
        searched_items: What was looped over in that search.
        note: What else a reader has to know; empty for nothing.
    """

    title: str
    rows: list[Row]
    searched: Mapping[str, float] = field(default_factory=dict)
    searched_items: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether no aim was missed."""
        return all(row.holds is not False for row in self.rows)

    def as_markdown(self) -> str:
        """Return its tables."""
        lines = [f"## {self.title}", ""]
        lines += [self.note, ""] if self.note else []
        lines += ["| | measured | aim | |", "|---|---|---|---|"]
        lines += [f"| {row.what} | {row.measured} | {row.aim} | {row.verdict} |" for row in self.rows]
        if self.searched:
            ways = sorted(self.searched.items(), key=lambda item: item[1], reverse=True)
            lines += ["", f"The search for the fastest loop, on {self.searched_items}:", ""]
            lines += ["| loop | per second |", "|---|---|"]
            lines += [f"| {way} | {rate:.0f} |" for way, rate in ways]
        return "\n".join(lines) + "\n"


def throughput_rows(load: Load, result: Throughput) -> list[Row]:
    """Return what one load showed against the plain loop."""
    noun = "texts" if load.method == "embed" else "pairs"
    held = load.method == "embed"  # the others are not held to an efficiency of their own
    return [
        Row(
            f"{load}: share of the plain loop ({result.loop})",
            f"{result.of_loop:.3f} ({result.rate:.0f} {noun}/s)",
            f"≥ {load.least:.2f}" if load.least is not None else "",
            result.of_loop >= load.least if load.least is not None else None,
        ),
        Row(f"… of a loop whose {noun} are tokenized beforehand", f"{result.of_loop_from_tokens:.3f}"),
        Row(
            "… padding efficiency",
            f"{result.padding_efficiency:.3f}",
            f"≥ {LEAST_PADDING_EFFICIENCY:.2f}" if held else "",
            result.padding_efficiency >= LEAST_PADDING_EFFICIENCY if held else None,
        ),
    ]


def reference_rows(result: Throughput, reference: Reference) -> list[Row]:
    """Return what one load showed against sentence-transformers; its best batch size is what counts."""
    aim = f"≥ {LEAST_OF_REFERENCE}"
    if reference.problem:
        return [Row("… as a multiple of CrossEncoder.predict", reference.problem, aim)]
    best = reference.best_batch_size
    rows = []
    for size, ratio in result.of_references.items():
        kind = ", ".join(["the default"] * (size == DEFAULT_BATCH_SIZE) + ["the fastest"] * (size == best))
        what = f"… as a multiple of CrossEncoder.predict, batches of {size} ({kind})"
        is_held = size == best
        holds = ratio >= LEAST_OF_REFERENCE if is_held else None
        rows.append(Row(what, f"{ratio:.2f}", aim if is_held else "", holds))
    return rows


def processor_row(load: Load, result: Throughput) -> Row:
    """Return where the processor's time goes."""
    one = result.per_call
    total = one.router + one.engine + one.callers
    parts = {"router": one.router, "engine": one.engine, "load generator": one.callers}
    return Row(
        f"{load}: processor time per call",
        f"{total * 1000:.2f} ms ({', '.join(f'{name} {s * 1000:.2f}' for name, s in parts.items())}); "
        f"the plain loop {one.loop * 1000:.2f} ms",
    )


def machine() -> str:
    """Return what it was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {usable_cpus()} cores of {model}, "
        f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}"
    )
