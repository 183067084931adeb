"""The one module that reads the environment.

Everything else gets values from here or from the configuration, so that what a process depends on can
be seen in one place and set in a test.
"""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_VARIABLE = "INGLENOOK_CONFIG"
CACHE_VARIABLE = "INGLENOOK_CACHE"
STATE_VARIABLE = "INGLENOOK_STATE"
API_KEY_VARIABLE = "INGLENOOK_API_KEY"


def configuration_path() -> Path:
    """Return the configuration file: `INGLENOOK_CONFIG`, or `inglenook.toml` in the working directory."""
    return Path(os.environ.get(CONFIG_VARIABLE) or "inglenook.toml")


def cache_directory() -> Path:
    """Return where built graphs and calibrations are kept.

    `INGLENOOK_CACHE`, else `inglenook` under `XDG_CACHE_HOME`, else `~/.cache/inglenook`. The directory
    need not exist.

    Raises:
        RuntimeError: None of the three can be had: this user has no home directory.
    """
    return _folder(CACHE_VARIABLE, "XDG_CACHE_HOME", "~/.cache")


def state_directory() -> Path:
    """Return where is kept what must outlive a restart and cannot be made again, such as what was spent.

    `INGLENOOK_STATE`, else `inglenook` under `XDG_STATE_HOME`, else `~/.local/state/inglenook`. The directory
    need not exist.

    Raises:
        RuntimeError: None of the three can be had: this user has no home directory.
    """
    return _folder(STATE_VARIABLE, "XDG_STATE_HOME", "~/.local/state")


def _folder(own: str, desktop: str, default: str) -> Path:
    """Return the folder that our variable names, else ours in the one of the desktop's or the default."""
    if chosen := os.environ.get(own):
        return Path(chosen).expanduser()
    try:
        return Path(os.environ.get(desktop) or default).expanduser() / "inglenook"
    except RuntimeError as error:
        message = f"this user has no home directory to keep files in; set {own}"
        raise RuntimeError(message) from error


def variable(name: str) -> str | None:
    """Return the value of an environment variable that a secret reference names, or None if unset."""
    return os.environ.get(name)


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with `changes` applied, for a child process."""
    return {**os.environ, **changes}


NATIVE_LIBRARIES = {
    # A server must not be forked: gRPC's fork handlers have hung processes.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # What gRPC's core prints is not in the format of our logs, and says nothing that the status does not.
    "GRPC_VERBOSITY": "NONE",
    # gRPC for Python has two ways to poll sockets. The older one needs one thread hop less per message:
    # docs/decisions/0007-interpreter-settings.md.
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
}


def prepare_native_libraries() -> None:
    """Set what native libraries read when they are imported, unless it is set. Call before importing gRPC."""
    for name, value in NATIVE_LIBRARIES.items():
        os.environ.setdefault(name, value)
