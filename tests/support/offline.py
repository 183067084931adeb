"""Programs of others, run as people run them, where nothing but this machine can be reached."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
GUARD: Final = Path(__file__).parent / "offline"
"""Has a `sitecustomize.py`, which Python imports first; it ends a process that looks further."""
SECONDS: Final = 40


def run_offline(command: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the root of the repository, with a home of its own, and return what it printed.

    A Python program that looks for another machine ends at once, with a word about it on standard error.
    """
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(GUARD),
            "LANGSMITH_TRACING": "false",
        },
    )
