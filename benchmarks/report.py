"""The measurements as one table, beside what is aimed at."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime

from benchmarks.measure import Latency, Lean, Load, Throughput
from services.inference.cpus import usable_cpus


@dataclass(frozen=True, slots=True)
class Row:
    """One claim."""

    what: str
    measured: str
    aim: str
    holds: bool


def throughput_rows(load: Load, result: Throughput, least: float) -> list[Row]:
    """Return what one load showed."""
    return [
        Row(
            f"{load}: share of the plain loop ({result.loop})",
            f"{result.of_loop:.3f} ({result.texts_per_second:.0f} texts/s)",
            f"≥ {least:.2f}",
            result.of_loop >= least,
        ),
        Row(
            "… of a loop whose texts are tokenized beforehand",
            f"{result.of_loop_from_tokens:.3f}",
            "",
            True,
        ),
        Row(
            "… padding efficiency",
            f"{result.padding_efficiency:.3f}",
            "≥ 0.90",
            result.padding_efficiency >= 0.9,
        ),
    ]


def latency_row(result: Latency) -> Row:
    """Return what an idle cluster showed."""
    return Row(
        "one text, one caller, idle: p50 through the router minus p50 of the bare run",
        f"{result.overhead:.2f} ms ({result.router:.2f} - {result.session:.2f})",
        "≤ 2 ms",
        result.overhead <= 2,
    )


def lean_rows(result: Lean) -> list[Row]:
    """Return what one embed service needs."""
    growth = result.late.resident - result.early.resident
    return [
        Row(
            "embed service: start to SERVING, graph cached",
            f"{result.start_seconds:.2f} s",
            "≤ 3 s",
            result.start_seconds <= 3,
        ),
        Row(
            "embed service: resident memory after 20,000 requests",
            f"{result.late.resident:.0f} MB",
            "≤ 450 MB",
            result.late.resident <= 450,
        ),
        Row(
            "embed service: growth of it between request 2,000 and 20,000",
            f"{growth:+.1f} MB ({growth / result.early.resident:+.1%})",
            "none (within 2 %)",
            growth <= 0.02 * result.early.resident,
        ),
    ]


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


def as_markdown(rows: list[Row], searched: dict[str, float]) -> str:
    """Return the report."""
    lines = [machine(), "", "| | measured | aim | |", "|---|---|---|---|"]
    for row in rows:
        verdict = "" if not row.aim else "ok" if row.holds else "MISSED"
        lines.append(f"| {row.what} | {row.measured} | {row.aim} | {verdict} |")
    ways = sorted(searched.items(), key=lambda item: item[1], reverse=True)
    lines += ["", "The search for the plain loop, on the first 512 texts:", ""]
    lines += ["| plain loop | texts/s |", "|---|---|", *(f"| {way} | {rate:.0f} |" for way, rate in ways)]
    return "\n".join(lines) + "\n"
