"""ONNX Runtime, and nothing else of it anywhere.

`InferenceSession.run` may be called from several threads and releases Python's lock. A session whose
operators use one thread each therefore serves as many workers as there are cores, with one copy of the
weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.artifacts import ArtifactProblem
from services.inference.padding import IDS, KNOWN_INPUTS, MASK

ExecutionProvider = Literal["cpu", "cuda", "openvino"]

PROVIDERS: Final[Mapping[ExecutionProvider, str]] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
ERRORS_ONLY: Final = 3
TOKEN_VECTORS: Final = 3
ROWS: Final = 2

Outputs = Literal["embeddings", "logits"]
"""What is wanted of a graph: vectors of texts or of their tokens, or a row of logits per text."""

PREFERRED: Final[Mapping[Outputs, tuple[str, ...]]] = {
    "embeddings": ("last_hidden_state", "token_embeddings"),
    "logits": ("logits",),
}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How to run a graph.

    Attributes:
        execution_provider: What computes.
        threads: CPU threads per run.
        lanes: How many runs go on at a time; only openvino has to know.
        device_id: Which GPU; only for cuda.
        bf16: Compute in bfloat16; only for openvino.
    """

    execution_provider: ExecutionProvider = "cpu"
    threads: int = 1
    lanes: int = 1
    device_id: int = 0
    bf16: bool = False


class Session:
    """A graph, ready to run.

    Attributes:
        settings: How it runs.
        inputs: The tensors that it asks for.
        pooled: Whether its output is one vector per text, not one per token.
    """

    def __init__(self, path: Path, settings: SessionSettings, outputs: Outputs = "embeddings") -> None:
        self.settings = settings
        self._session = _open(path, settings)
        self.inputs = frozenset(node.name for node in self._session.get_inputs())
        if unknown := self.inputs - KNOWN_INPUTS:
            message = f"{path.name} asks for inputs that are not known: {', '.join(sorted(unknown))}"
            raise ArtifactProblem(message)
        if not {IDS, MASK} <= self.inputs:
            message = f"{path.name} must have the inputs {IDS} and {MASK}"
            raise ArtifactProblem(message)
        self._output, self.pooled = _choose_output(path, self._session.get_outputs(), outputs)

    def run(self, feeds: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Compute one batch.

        Args:
            feeds: Tensors [batch, tokens], one for each of `inputs`.

        Returns:
            [batch, width] if the graph pools, else [batch, tokens, width].

        Raises:
            Exception: The graph cannot be run on these tensors; ONNX Runtime raises its own types.
        """
        if self.settings.execution_provider == "cuda":
            output = self._run_bound(feeds, "cuda", self.settings.device_id)
        else:
            output = self._session.run([self._output], dict(feeds))[0]
        return np.asarray(output, dtype=np.float32)

    def _run_bound(self, feeds: Mapping[str, NDArray[np.int64]], device: str, device_id: int) -> Any:
        """Run with IO binding: the output is allocated on the device and copied back once."""
        binding = self._session.io_binding()
        for name, tensor in feeds.items():
            binding.bind_cpu_input(name, tensor)
        binding.bind_output(self._output, device, device_id)
        self._session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]


def version() -> str:
    """Return the version of ONNX Runtime."""
    return str(onnxruntime.__version__)


def _open(path: Path, settings: SessionSettings) -> onnxruntime.InferenceSession:
    wanted = PROVIDERS[settings.execution_provider]
    if wanted not in onnxruntime.get_available_providers():
        message = (
            f"the installed ONNX Runtime cannot run on {settings.execution_provider}; "
            f"install inglenook[engine-{settings.execution_provider}] in place of inglenook[engine]"
        )
        raise ArtifactProblem(message)
    if settings.execution_provider == "cuda":
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    # A memory plan for every shape pays where shapes repeat. Under load nearly every batch has its own, and
    # the plans would pile up by the megabyte. Wide runs carry few entries: there are few shapes.
    options.enable_mem_pattern = settings.threads > 1
    # Threads of one run meet many times per millisecond, and those that sleep in between come late. Between
    # runs they must not spin: the cores belong to the other sessions and the event loop then.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers: list[Any] = [(wanted, provider_options(settings))]
    if wanted != PROVIDERS["cpu"]:
        providers.append(PROVIDERS["cpu"])  # for the operators that the device has no kernel for
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        message = f"{path.name} cannot be loaded by ONNX Runtime: {error}"
        raise ArtifactProblem(message) from error
    if session.get_providers()[0] != wanted:  # it falls back to the CPU with no more than a warning
        message = f"ONNX Runtime found no device for {settings.execution_provider}"
        raise ArtifactProblem(message)
    return session


def provider_options(settings: SessionSettings) -> dict[str, str]:
    """Return what the execution provider is told."""
    if settings.execution_provider == "cuda":
        return {
            "device_id": str(settings.device_id),
            # Doubling the arena for each new shape would take most of the device for little.
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": "0",
        }
    if settings.execution_provider == "openvino":
        plugin = {
            "INFERENCE_PRECISION_HINT": "bf16" if settings.bf16 else "f32",
            # A stream runs one batch at a time; runs beyond the number of streams wait for each other.
            "NUM_STREAMS": settings.lanes,
            "INFERENCE_NUM_THREADS": settings.lanes * settings.threads,
            # A pinned thread waits where it is when another process has its core.
            "ENABLE_CPU_PINNING": False,
        }
        return {"device_type": "CPU", "load_config": json.dumps({"CPU": plugin})}
    return {}


def _choose_output(path: Path, nodes: list[Any], outputs: Outputs) -> tuple[str, bool]:
    """Return the output to use, and whether it is one row per text.

    Of embeddings, token vectors are preferred, because they can be pooled as configured; exports call them
    `last_hidden_state` or `token_embeddings`. A graph without them must have one vector per text.
    """
    for rank in (TOKEN_VECTORS, ROWS) if outputs == "embeddings" else (ROWS,):
        fitting = [node.name for node in nodes if len(node.shape) == rank]
        preferred = [name for name in PREFERRED[outputs] if name in fitting]
        if preferred or fitting:
            return (preferred or fitting)[0], rank == ROWS
    wanted = "token vectors or embeddings" if outputs == "embeddings" else "logits, [batch, labels]"
    message = f"{path.name} has no output of {wanted}"
    raise ArtifactProblem(message)
