"""What the configuration leaves open about a model: its precision and its longest input."""

from __future__ import annotations

from typing import Final

from services.artifacts import ArtifactProblem, Artifacts
from services.config import Engine, Model
from services.inference.lifecycle import Precision

MAX_TOKENS_UNKNOWN: Final = 512
"""Where neither the configuration nor the artifacts say how long an input may be."""

DEFAULT_PRECISION: Final[dict[str, Precision]] = {"cpu": "fp32", "cuda": "fp16", "openvino": "bf16"}
ALLOWED_PRECISION: Final[dict[str, tuple[Precision, ...]]] = {
    "cpu": ("fp32",),
    "cuda": ("fp32", "fp16"),
    "openvino": ("fp32", "bf16"),
}


def choose_precision(section: Model, engine: Engine, artifacts: Artifacts) -> Precision:
    """Return the number format to run in.

    Raises:
        ArtifactProblem: The configuration wants one that does not run there, or that the graph lacks.
    """
    provider = engine.execution_provider
    chosen = section.precision or DEFAULT_PRECISION[provider]
    if chosen not in ALLOWED_PRECISION[provider]:
        message = (
            f"precision {chosen} does not run on {provider}; use {' or '.join(ALLOWED_PRECISION[provider])}"
        )
        raise ArtifactProblem(message)
    if artifacts.graph is not None and chosen == "fp16":
        if section.precision is not None:
            message = "a ready-made .onnx file keeps the precision that it has; name an fp16 file instead"
            raise ArtifactProblem(message)
        return "fp32"
    return chosen


def choose_max_tokens(section: Model, artifacts: Artifacts) -> int:
    """Return the longest input in tokens, special tokens included.

    That is what the configuration says, else what the folder says, but no more than there are positions.

    Raises:
        ArtifactProblem: The configuration wants more than the model has positions for.
    """
    positions, chosen = artifacts.positions, section.max_input_tokens
    if chosen is None:  # what a folder says has often been copied from another model's
        default = artifacts.max_tokens or MAX_TOKENS_UNKNOWN
        return default if positions is None else min(default, positions)
    if positions is not None and chosen > positions:
        message = f"max_input_tokens {chosen} is more than the model's {positions} positions"
        raise ArtifactProblem(message)
    return chosen
