"""Domain values as messages of the contract."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Capability, ModelInfo, Pooling, Precision, Timings
from inglenook.common.v1 import ModelState as WireState

from services.inference.lifecycle import ModelState, ModelStatus

NANOSECONDS: Final = 1_000_000_000

MOST_DETAIL_CHARACTERS: Final = 1_000
MOST_ARCHITECTURE_CHARACTERS: Final = 64
MOST_LABEL_CHARACTERS: Final = 128
MOST_SOURCE_CHARACTERS: Final = 1_000

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
    """Return what callers see of a model; what only a load finds out is there once it was loaded.

    Pooling and dimensions are those of models that embed, labels those of NLI models: a reranker may have
    either inside, and means nothing by them. Texts that come from a model's files are shortened and made
    valid UTF-8: no model may keep the others from being listed.
    """
    info = ModelInfo(
        name=status.name,
        capability=CAPABILITIES[status.section.capability],
        state=STATES[status.state],
        state_detail=_text(status.problem or status.detail, MOST_DETAIL_CHARACTERS),
        source=_text(status.section.source, MOST_SOURCE_CHARACTERS),
        revision=status.section.revision or "",
        load_time=duration(status.load_seconds) if status.load_seconds else None,
        memory_bytes=status.memory_bytes if status.state is ModelState.READY else 0,
    )
    facts = status.facts
    if facts is not None:
        info.fingerprint = facts.fingerprint
        info.architecture = _text(facts.architecture, MOST_ARCHITECTURE_CHARACTERS)
        info.precision = PRECISIONS[facts.precision]
        info.execution_provider = facts.execution_provider
        info.max_input_tokens = facts.max_input_tokens
        if status.section.capability == "nli":
            info.labels.extend(_text(label, MOST_LABEL_CHARACTERS) for label in facts.labels)
        if status.section.capability == "embed" and facts.pooling is not None:
            info.pooling = POOLINGS[facts.pooling]
        if status.section.capability == "embed" and facts.dimensions is not None:
            info.dimensions = facts.dimensions
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


def _text(text: str, most: int) -> str:
    """Return as much of a text as `most` characters hold; what is no character of Unicode becomes `?`."""
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return shown.encode("utf-8", errors="replace").decode()
