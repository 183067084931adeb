"""From what the configuration calls a source to a folder."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path

from services.artifacts.problem import ArtifactProblem
from services.artifacts.wanted import Origins, Report, Wanted


def unheard(_: str) -> None:
    """Tell nobody."""


def locate(wanted: Wanted, origins: Origins, report: Report = unheard) -> Path:
    """Return the folder that holds what is wanted; what an `hf:` source lacks here is downloaded first.

    Blocks for as long as that takes. Files from the hub are hashed on every call.

    Args:
        wanted: Which files.
        origins: Where they may come from.
        report: Is told how a download is coming along: at the start of each file, then twice a second at
            most. What it raises ends the download and is raised from here; what has arrived is kept.

    Raises:
        ArtifactProblem: There is no such package, folder or repository, it lacks something that is needed, it
            cannot be fetched, or a file is not what it was when it was fetched.
    """
    scheme, _, place = wanted.source.partition(":")
    if scheme == "hf":
        # Only where there is such a source: it brings an HTTP client with it.
        from services.artifacts.hub import Sentences, fetch

        return fetch(wanted, origins, Sentences(report)).folder
    folder = _in_package(place) if scheme == "package" else origins.base / Path(place).expanduser()
    if not folder.is_dir():
        message = f"there is no folder {folder}"
        raise ArtifactProblem(message)
    return folder


def _in_package(place: str) -> Path:
    package, _, inside = place.partition("/")
    # The package is found, not imported: no code of it runs.
    spec = None
    with suppress(ValueError):  # of modules that were not imported from a file, such as __main__
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        message = f"the Python package {package} is not installed"
        raise ArtifactProblem(message)
    return Path(next(iter(spec.submodule_search_locations))) / inside
