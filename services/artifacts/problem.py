"""What can be wrong with a model's files."""

from __future__ import annotations


class ArtifactProblem(Exception):
    """A model's files are missing, damaged or not understood. The message says which and why."""
