"""The best that a plain ONNX Runtime loop does with the same texts: what a server cannot beat by much.

The loop runs the plain graph, with padding, as an export would give it. Searched are arrival and length
order, batches of 4 to 32, and one session with all threads or one thread per worker. Texts are tokenized all
at once beforehand; results give the rate with that time counted and without it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.inference.artifacts import examine
from services.inference.cpus import usable_cpus
from services.inference.graph.build import Checkpoint, Plan, build
from services.inference.graph.heads import EmbeddingHead

BATCH_SIZES: Final = (4, 8, 16, 32)
SEARCHED_TEXTS: Final = 512
FINALISTS: Final = 3

Feeds = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to loop over texts."""

    sort: bool
    batch_size: int
    workers: int

    def __str__(self) -> str:
        order = "length" if self.sort else "arrival"
        threads = "one thread per worker" if self.workers > 1 else "one session with all threads"
        return f"{order} order, batches of {self.batch_size}, {threads}"


@dataclass(frozen=True, slots=True)
class Rate:
    """Texts per second of one way.

    Attributes:
        way: How it looped.
        from_tokens: Rate of padding and running alone.
        from_texts: Rate with tokenizing counted.
    """

    way: Way
    from_tokens: float
    from_texts: float


class Roofline:
    """A model with mean pooling, and texts to loop over.

    Args:
        model: Its folder.
        scratch: Where its graph may be built.
        max_tokens: Where texts are cut.
        texts: The texts.
    """

    def __init__(self, model: Path, scratch: Path, max_tokens: int, texts: Sequence[str]) -> None:
        cpus = usable_cpus()
        graph = _plain_graph(model, scratch)
        self._sessions = {1: _session(graph, cpus), cpus: _session(graph, 1)}
        self._library = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._library.no_padding()
        self._library.enable_truncation(max_tokens)
        self._texts = list(texts)
        self._ways = [
            Way(sort, size, workers)
            for sort, size, workers in product((False, True), BATCH_SIZES, sorted(self._sessions))
        ]

    def narrow_down(self) -> dict[str, float]:
        """Keep the ways that are fastest on the first texts; return the rate of each that was tried."""
        ids = self._tokenize(self._texts[:SEARCHED_TEXTS])
        rates = {way: len(ids) / self._loop(ids, way) for way in self._ways}
        self._ways = sorted(rates, key=rates.__getitem__, reverse=True)[:FINALISTS]
        return {str(way): rate for way, rate in rates.items()}

    def rates(self) -> list[Rate]:
        """Loop over all texts once in each way that is left, and return how fast each was."""
        began = time.perf_counter()
        ids = self._tokenize(self._texts)
        tokenizing = time.perf_counter() - began
        seconds = {way: self._loop(ids, way) for way in self._ways}
        return [Rate(way, len(ids) / took, len(ids) / (took + tokenizing)) for way, took in seconds.items()]

    def latency(self, text: str, runs: int) -> float:
        """Return the median time of running one tokenized text with all threads, in seconds."""
        feed = _pad(self._tokenize([text]))
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            self._sessions[1].run(None, feed)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._library.encode_batch_fast(list(texts))]

    def _loop(self, ids: Sequence[list[int]], way: Way) -> float:
        session = self._sessions[way.workers]

        def run(batch: Sequence[list[int]]) -> Any:
            return session.run(None, _pad(batch))

        began = time.perf_counter()
        ordered = sorted(ids, key=len) if way.sort else list(ids)
        batches = [ordered[first : first + way.batch_size] for first in range(0, len(ids), way.batch_size)]
        with ThreadPoolExecutor(way.workers) as threads:
            for _ in threads.map(run, batches):
                pass
        return time.perf_counter() - began


def _plain_graph(model: Path, scratch: Path) -> Path:
    found = examine(model, None)
    assert found.weights is not None, "the default model is a checkpoint"
    checkpoint = Checkpoint(found.config, found.weights, found.sha256[found.weights.name])
    return build(checkpoint, Plan(EmbeddingHead("mean"), layout="padded"), scratch)


def _session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _pad(batch: Sequence[list[int]]) -> Feeds:
    shape = (len(batch), max(map(len, batch)))
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, one in enumerate(batch):
        ids[row, : len(one)] = one
        mask[row, : len(one)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
