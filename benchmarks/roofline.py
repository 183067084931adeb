"""The best that a plain ONNX Runtime loop does with the same texts: what a server cannot beat by much.

The loop runs the plain graph, with padding, as an export would give it. Searched are arrival and length
order, batches of 4 to 32, and one session with all threads or one thread per worker. Texts, and pairs of
texts, are tokenized all at once beforehand; results give the rate with that time counted and without it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.corpus import Pair
from services.artifacts import examine
from services.inference.cpus import usable_cpus
from services.inference.graph.build import Checkpoint, Head, Plan, build

BATCH_SIZES: Final = (4, 8, 16, 32)

Feeds = dict[str, NDArray[np.int64]]
Items = Sequence[str] | Sequence[Pair]
Cut = Literal["longest_first", "only_first", "only_second"]


class Tokens(NamedTuple):
    """A text or a pair, tokenized.

    Attributes:
        ids: Its tokens, special tokens included.
        types: 0 for the first text, 1 for the second; empty for a single text.
    """

    ids: list[int]
    types: list[int]


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
    """Texts or pairs per second of one way.

    Attributes:
        way: How it looped.
        from_tokens: Rate of padding and running alone.
        from_texts: Rate with tokenizing counted.
        processor_seconds: What one text or pair took of the processor, tokenizing counted.
    """

    way: Way
    from_tokens: float
    from_texts: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Plain:
    """The model of a plain loop.

    Attributes:
        folder: Its folder.
        head: What stands on top of its encoder.
        max_tokens: Where texts are cut, special tokens included.
        cut: Which text of a pair is cut.
    """

    folder: Path
    head: Head
    max_tokens: int
    cut: Cut = "longest_first"


class Roofline:
    """A model that can be looped over texts or pairs.

    Args:
        model: The model.
        scratch: Where its graph may be built.
    """

    def __init__(self, model: Plain, scratch: Path) -> None:
        cpus = usable_cpus()
        graph = _plain_graph(model, scratch)
        self._sessions = {1: _session(graph, cpus), cpus: _session(graph, 1)}
        self._library = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
        self._library.no_padding()
        self._library.enable_truncation(model.max_tokens, strategy=model.cut)
        self._ways = [
            Way(sort, size, workers)
            for sort, size, workers in product((False, True), BATCH_SIZES, sorted(self._sessions))
        ]

    def narrow_down(self, items: Items, finalists: int, passes: int = 1) -> dict[str, float]:
        """Keep the ways that are fastest on `items`; return the rate of each that was tried.

        Args:
            items: What is looped over.
            finalists: How many ways are kept.
            passes: How often each is tried; its best rate counts, so that a way is not dropped because the
                machine did something else for a moment.
        """
        tokens = self._tokenize(items)
        tries = [{way: len(tokens) / self._loop(tokens, way) for way in self._ways} for _ in range(passes)]
        rates = {way: max(one[way] for one in tries) for way in self._ways}
        self._ways = sorted(rates, key=rates.__getitem__, reverse=True)[:finalists]
        return {str(way): rate for way, rate in rates.items()}

    def rates(self, items: Items) -> list[Rate]:
        """Loop over `items` once in each way that is left, and return how fast each was."""
        began, processor_began = time.perf_counter(), time.process_time()
        tokens = self._tokenize(items)
        tokenizing, processor = time.perf_counter() - began, time.process_time() - processor_began
        rates = []
        for way in self._ways:
            processor_began = time.process_time()
            took = self._loop(tokens, way)
            spent = processor + time.process_time() - processor_began
            count = len(tokens)
            rates.append(Rate(way, count / took, count / (took + tokenizing), spent / count))
        return rates

    def latency(self, text: str, runs: int) -> float:
        """Return the median time of running one tokenized text with all threads, in seconds."""
        feed = _pad(self._tokenize([text]))
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            self._sessions[1].run(None, feed)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    def answers(self, items: Items) -> NDArray[np.float32]:
        """Return what the graph computes for each, run alone, [items, width]."""
        tokens = self._tokenize(items)
        return np.concatenate([self._sessions[1].run(None, _pad([one]))[0] for one in tokens])

    def _tokenize(self, items: Items) -> list[Tokens]:
        if items and isinstance(items[0], str):
            return [Tokens(one.ids, []) for one in self._library.encode_batch_fast(list(items))]
        return [Tokens(one.ids, one.type_ids) for one in self._library.encode_batch_fast(list(items))]

    def _loop(self, tokens: Sequence[Tokens], way: Way) -> float:
        session = self._sessions[way.workers]

        def run(batch: Sequence[Tokens]) -> Any:
            return session.run(None, _pad(batch))

        began = time.perf_counter()
        ordered = sorted(tokens, key=lambda one: len(one.ids)) if way.sort else list(tokens)
        firsts = range(0, len(tokens), way.batch_size)
        batches = [ordered[first : first + way.batch_size] for first in firsts]
        with ThreadPoolExecutor(way.workers) as threads:
            for _ in threads.map(run, batches):
                pass
        return time.perf_counter() - began


def _plain_graph(model: Plain, scratch: Path) -> Path:
    found = examine(model.folder, None)
    assert found.weights is not None, "what is measured is a checkpoint"
    checkpoint = Checkpoint(found.config, found.weights, found.sha256[found.weights.name])
    return build(checkpoint, Plan(model.head, layout="padded"), scratch)


def _session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _pad(batch: Sequence[Tokens]) -> Feeds:
    shape = (len(batch), max(len(one.ids) for one in batch))
    ids, mask, types = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)] = one.ids
        mask[row, : len(one.ids)] = 1
        types[row, : len(one.types)] = one.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
