"""`python -m benchmarks.chat_failures`: how chat fares when providers misbehave, as a table.

Runs the scenarios of Failover Bench against a chat service in this process, with both of its methods. The
exit code is 1 if one of them failed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from services.config import environment

environment.prepare_native_libraries()

# Only now: gRPC reads its environment once, when it is imported.
from tests.support.fault_verdicts import WAYS, Result, all_played, table  # noqa: E402


def main() -> int:
    """Run all scenarios and print the table."""
    with tempfile.TemporaryDirectory(prefix="inglenook-bench-") as folder:
        results = asyncio.run(_results(Path(folder)))
    sys.stdout.write(table(results))
    return 1 if any(result.verdict == "fail" for result in results) else 0


async def _results(folder: Path) -> list[Result]:
    return [result for way in WAYS for result in await all_played(folder, way)]


if __name__ == "__main__":
    sys.exit(main())
