"""`make bench`: measures everything that docs/benchmarks.md claims, and prints it as a table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.cluster import BenchCluster
from benchmarks.corpus import paragraphs
from benchmarks.measure import TEXTS, Load, latency, lean, throughput
from benchmarks.roofline import Roofline

LOADS = {Load(per_call=32, callers=4): 0.92, Load(per_call=1, callers=32): 0.80}
MOST_TOKENS = 256


def main() -> int:
    """Measure, print, and return 1 if an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--output", type=Path, help="write the table there as well")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="inglenook-bench-") as folder,
        BenchCluster(Path(folder)) as cluster,
    ):
        longest = cluster.file.configuration.models["minilm"].max_input_tokens or MOST_TOKENS
        roofline = Roofline(cluster.model, Path(folder) / "plain", longest, paragraphs(TEXTS))
        _tell("searching for the fastest plain loop")
        searched = roofline.narrow_down()
        idle = latency(cluster, roofline, _tell)
        results = throughput(cluster, roofline, list(LOADS), _tell)
        needs = lean(cluster, _tell)
    rows = [
        row
        for (load, least), result in zip(LOADS.items(), results, strict=True)
        for row in report.throughput_rows(load, result, least)
    ]
    rows += [report.latency_row(idle), *report.lean_rows(needs)]
    text = report.as_markdown(rows, searched)
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
