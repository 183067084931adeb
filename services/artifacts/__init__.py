"""Library: a model's files: where they come from, what they hold, and whether they are what they were.

`source` turns what the configuration says into a folder, with `hub` for what has to be downloaded; `folder`
reads what a folder holds. Nothing here computes: fetching a model needs neither numpy nor an engine.
"""

from services.artifacts.folder import BUILDABLE, AdapterFiles, Artifacts, examine, examine_adapter
from services.artifacts.problem import ArtifactProblem
from services.artifacts.source import locate
from services.artifacts.wanted import Origins, Report, Wanted

__all__ = [
    "BUILDABLE",
    "AdapterFiles",
    "ArtifactProblem",
    "Artifacts",
    "Origins",
    "Report",
    "Wanted",
    "examine",
    "examine_adapter",
    "locate",
]
