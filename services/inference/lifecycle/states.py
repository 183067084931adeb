"""What can be told of a model, and what becomes of it by which rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from services.config import Engine, LocalModel, Pooling

Precision = Literal["fp32", "fp16", "bf16"]
"""Number format that a model runs in."""

Cause = Literal["explicit", "idle", "evicted", "reconfigured", "stopping"]
"""Why a model was unloaded: somebody asked for it, nobody called the model, another one needed its memory,
the configuration has changed or removed it, or the service ends."""

MEGABYTE: Final = 1_000_000


class ModelState(StrEnum):
    """Where a model is in its life."""

    AVAILABLE = "available"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model once it is loaded.

    Attributes:
        fingerprint: Hash over everything that decides its answers, lowercase hex.
        architecture: Model family, for example `bert`; empty if unknown.
        precision: Number format that it runs in.
        execution_provider: What it runs on.
        pooling: How token vectors become an embedding; None for models that make none.
        dimensions: Length of a full embedding; None for models that make none.
        max_input_tokens: Longest input, special tokens included.
        labels: What its outputs mean, in their order; empty for models without labels.
    """

    fingerprint: str
    architecture: str
    precision: Precision
    execution_provider: str
    pooling: Pooling | None
    dimensions: int | None
    max_input_tokens: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is known of one model.

    Attributes:
        name: Its public name.
        section: What the configuration says about it.
        state: Where it is in its life.
        problem: Why it failed; empty otherwise.
        detail: What is being done while it is loading, or what has become of a change of its section that is
            not in force yet; empty otherwise.
        is_preparing: Whether its files are still being fetched and its graph built.
        facts: What the last load found out; None if it never succeeded.
        memory_bytes: How much the process grew by opening it: the most that was measured, or 2.5 times
            its weights while no measurement was clean. 0 if it never was opened. Stays when it is unloaded.
        load_seconds: How long its last load took, without the time that it waited for memory; 0 if it
            never succeeded.
        last_used: When a call last used it, in seconds of the registry's clock; None for never.
    """

    name: str
    section: LocalModel
    state: ModelState = ModelState.AVAILABLE
    problem: str = ""
    detail: str = ""
    is_preparing: bool = False
    facts: ModelFacts | None = None
    memory_bytes: int = 0
    load_seconds: float = 0.0
    last_used: float | None = None


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """What happened to a model.

    Attributes:
        kind: loaded, unloaded, or failed to load.
        model: Its name.
        cause: Why it was unloaded; None for other kinds.
        seconds: How long the load took, without waiting for memory; 0 for other kinds than loaded.
    """

    kind: Literal["loaded", "unloaded", "failed"]
    model: str
    cause: Cause | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """By which rules models come and go.

    Attributes:
        memory_budget_bytes: Most resident memory of the process; 0 for no budget.
        idle_unload_seconds: After how long without a call a model is unloaded, where its own section does
            not say; 0 for never.
        on_demand: What becomes of a call for a model that is not loaded.
    """

    memory_budget_bytes: int = 0
    idle_unload_seconds: float = 0.0
    on_demand: Literal["wait", "retry", "never"] = "wait"

    @classmethod
    def of(cls, engine: Engine) -> LifecycleSettings:
        """Return what the configuration says."""
        return cls(
            memory_budget_bytes=engine.memory_budget_mb * MEGABYTE,
            idle_unload_seconds=engine.idle_unload_seconds,
            on_demand=engine.on_demand,
        )
