"""The one module that reads the environment.

Everything else gets values from here or from the configuration, so that what a process depends on can
be seen in one place and set in a test.
"""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_VARIABLE = "INGLENOOK_CONFIG"
CACHE_VARIABLE = "INGLENOOK_CACHE"


def configuration_path() -> Path:
    """Return the configuration file: `INGLENOOK_CONFIG`, or `inglenook.toml` in the working directory."""
    return Path(os.environ.get(CONFIG_VARIABLE) or "inglenook.toml")


def cache_directory() -> Path:
    """Return where built graphs and calibrations are kept.

    `INGLENOOK_CACHE`, else `inglenook` under `XDG_CACHE_HOME`, else `~/.cache/inglenook`. The directory
    need not exist.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "inglenook"


def variable(name: str) -> str | None:
    """Return the value of an environment variable that a secret reference names, or None if unset."""
    return os.environ.get(name)


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with `changes` applied, for a child process."""
    return {**os.environ, **changes}


def set_before_import(**values: str) -> None:
    """Set variables that native libraries read when they are first imported, unless already set."""
    for name, value in values.items():
        os.environ.setdefault(name, value)
