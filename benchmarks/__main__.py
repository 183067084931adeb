"""`make bench`: measures everything that docs/benchmarks.md claims, and prints it as tables."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.config import environment

environment.prepare_native_libraries()

# Only now: gRPC reads its environment once, when it is imported.
from benchmarks import cached, chat, embed, lifecycle, pairs, report  # noqa: E402
from benchmarks.measure import ROUNDS, SECONDS, Setting  # noqa: E402

QUICK_SECONDS: Final = 5.0
QUICK_DIVISOR: Final = 8

PARTS: Final[dict[str, Callable[[Setting], report.Section]]] = {
    "embed": embed.measure,
    "rerank": pairs.rerank,
    "nli": pairs.nli,
    "lifecycle": lifecycle.measure,
    "chat": chat.measure,
    "cache": cached.measure,
}


def main() -> int:
    """Measure, print, and return 1 if an aim was missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # else the services would be left behind
    written = [report.machine() + "\n"]
    if options.quick:
        written.append("A quick run: it shows that everything works, and says nothing about speed.\n")
    sys.stdout.write("\n".join(written))
    holds = True
    for name in options.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="inglenook-bench-") as folder:
            section = PARTS[name](
                Setting(
                    Path(folder),
                    _tell,
                    rounds=options.rounds or (1 if options.quick else ROUNDS),
                    seconds=options.seconds or (QUICK_SECONDS if options.quick else SECONDS),
                    reference_python=options.reference_python,
                    divisor=QUICK_DIVISOR if options.quick else 1,
                )
            )
        holds = holds and section.holds
        written.append(section.as_markdown())
        sys.stdout.write(f"\n{written[-1]}")  # at once: what comes next may fail
        sys.stdout.flush()
        if options.output:
            options.output.write_text("\n".join(written), encoding="utf-8")
    return 0 if holds else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="measure this part; may be given again; default: all"
    )
    parser.add_argument(
        "--reference-python",
        type=Path,
        metavar="PATH",
        help="a Python interpreter that has sentence-transformers, to compare with CrossEncoder.predict",
    )
    parser.add_argument("--rounds", type=int, help=f"how often each load runs; default: {ROUNDS}")
    parser.add_argument(
        "--seconds", type=float, help=f"how long each lifecycle scenario runs; default: {SECONDS:.0f}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round with little in it, to see whether everything works"
    )
    parser.add_argument("--output", type=Path, help="write the tables there as well")
    return parser.parse_args()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
