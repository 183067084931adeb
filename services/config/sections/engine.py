"""`[engine]` and `[limits]`: how models are run, and how much is accepted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from services.config.sections.base import Refused, Seconds, Section


class Engine(Section):
    """How models are run."""

    execution_provider: Literal["cpu", "cuda", "openvino"] = "cpu"
    """ONNX Runtime execution provider. `cuda` needs the extra `engine-cuda`, `openvino` the extra
    `engine-openvino`."""
    device_id: Annotated[int, Field(ge=0)] = 0
    """Which GPU to use, counted from 0. Only for cuda."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads for running models. 0: as many as the process may use."""
    memory_budget_mb: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Most resident memory of one service process, in megabytes (10^6 bytes), as the system measures it;
    weights that are mapped from files count whole from the start, touched or not. Before a model is loaded,
    those that were not called for longest are unloaded until it fits. While one is being opened, ONNX
    Runtime holds its file twice for a moment, so leave room for the largest. 0: no budget, every model
    stays."""
    idle_unload_seconds: Seconds = 0.0
    """Take a model out of memory when nobody has called it for so long. 0: never."""
    on_demand: Literal["wait", "retry", "never"] = "wait"
    """What becomes of a call for a model that is not loaded. wait: it waits until the model is loaded,
    within its deadline. retry: the model is loaded, and the call is answered NOT_READY with the time after
    which to come back. never: NOT_READY; only `LoadModel` loads."""
    calibrate: bool = True
    """Measure at the first start which batch size this machine runs best, and remember it in the cache
    directory. False: use built-in values. Irrelevant where `limits.max_batch_tokens` is set."""


class Limits(Section):
    """How much is accepted: per call, per batch, per queue. What is beyond is refused, never dropped."""

    max_queue_size: Annotated[int, Field(ge=1)] = 4096
    """Most inputs that wait for one model at a time."""
    max_client_batch_size: Annotated[int, Field(ge=1, le=100_000, validate_default=True)] = 1024
    """Most inputs in one call. At most `max_queue_size`: a call is accepted whole or not at all, so a
    larger one would be refused even by an idle service."""
    max_input_characters: Annotated[int, Field(ge=1)] = 1_000_000
    """Longest text in characters. A text within the limit that is still far longer than the model
    could take is cut before it is tokenized, if the call allows truncation."""
    max_message_bytes: Annotated[int, Field(ge=1024, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    """Largest request message in bytes."""
    max_concurrent_calls: Annotated[int, Field(ge=1)] = 2048
    """Most calls that one service handles at a time."""
    max_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Most inputs in one batch. At most `max_queue_size`: a batch is made of inputs that wait."""
    max_batch_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Most tokens in one batch, padding included. 0: measured at warm-up. A single input that is longer
    still runs, alone."""
    max_queue_delay_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long a batch that is not full waits for more inputs while the engine is idle, in
    milliseconds. 0: it never waits."""
    default_timeout_seconds: Annotated[Seconds, Field(gt=0)] = 60.0
    """Deadline that the router sets for calls that come without one, in seconds."""

    @field_validator("max_client_batch_size", "max_batch_size")
    @classmethod
    def check_fits_queue(cls, size: int, info: ValidationInfo) -> int:
        """Refuse a call that no queue could take in, and a batch that could never be full.

        A default of `max_batch_size` above `max_queue_size` does no harm, so only a chosen one is checked.
        """
        queue = info.data.get("max_queue_size", size)  # absent when it has a problem of its own
        if size > queue:
            message = f"is {size}, but no more than {queue} inputs can wait (limits.max_queue_size)"
            raise Refused(message, f"set it to {queue} or less, or max_queue_size to {size} or more")
        return size
