"""Domain values as messages of the contract."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Capability, ModelInfo, Pooling, Precision, Timings
from inglenook.common.v1 import ModelState as WireState

from services.inference.registry import ModelState, ModelStatus

NANOSECONDS: Final = 1_000_000_000

STATES: Final = {
    ModelState.AVAILABLE: WireState.MODEL_STATE_AVAILABLE,
    ModelState.LOADING: WireState.MODEL_STATE_LOADING,
    ModelState.READY: WireState.MODEL_STATE_READY,
    ModelState.FAILED: WireState.MODEL_STATE_FAILED,
    ModelState.UNLOADING: WireState.MODEL_STATE_UNLOADING,
}
CAPABILITIES: Final = {
    "chat": Capability.CAPABILITY_CHAT,
    "embed": Capability.CAPABILITY_EMBED,
    "rerank": Capability.CAPABILITY_RERANK,
    "nli": Capability.CAPABILITY_NLI,
}
POOLINGS: Final = {
    "cls": Pooling.POOLING_CLS,
    "mean": Pooling.POOLING_MEAN,
    "last_token": Pooling.POOLING_LAST_TOKEN,
}
PRECISIONS: Final = {
    "fp32": Precision.PRECISION_FP32,
    "fp16": Precision.PRECISION_FP16,
    "bf16": Precision.PRECISION_BF16,
}


def model_info(status: ModelStatus) -> ModelInfo:
    """Return what callers see of a model; what only a load finds out is there once it was loaded."""
    info = ModelInfo(
        name=status.name,
        capability=CAPABILITIES[status.section.capability],
        state=STATES[status.state],
        state_detail=status.problem,
        source=status.section.source,
    )
    facts = status.facts
    if facts is not None:
        info.fingerprint = facts.fingerprint
        info.architecture = facts.architecture
        info.precision = PRECISIONS[facts.precision]
        info.execution_provider = facts.execution_provider
        info.max_input_tokens = facts.max_input_tokens
        info.dimensions = facts.dimensions
        info.pooling = POOLINGS[facts.pooling]
        info.load_time.CopyFrom(duration(facts.load_seconds))
        if status.state is ModelState.READY:
            info.memory_bytes = facts.memory_bytes
    return info


def timings(total: float, tokenize: float, queue: float, inference: float) -> Timings:
    """Return where a call's time went; all in seconds."""
    return Timings(
        total_time=duration(total),
        queue_time=duration(queue),
        tokenize_time=duration(tokenize),
        inference_time=duration(inference),
    )


def duration(seconds: float) -> Duration:
    """Return seconds as a protobuf duration."""
    whole, rest = divmod(int(seconds * NANOSECONDS), NANOSECONDS)
    return Duration(seconds=whole, nanos=rest)
