"""The tool `inglenook` as a person or a script runs it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.config import ConfigurationFile

SECONDS = 50


def run(file: ConfigurationFile | Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the tool with a configuration file and return what it wrote."""
    path = file.path if isinstance(file, ConfigurationFile) else file
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "INGLENOOK_CONFIG": str(path)},
    )


def answer(file: ConfigurationFile, *arguments: str, given: str = "") -> Any:
    """Run the tool with --json and return the document."""
    done = run(file, *arguments, "--json", given=given)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
