"""Reranking and NLI: throughput of pairs, against the plain loop and against sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cluster import BenchCluster, Served
from benchmarks.corpus import Pair, searches, sentence_pairs
from benchmarks.load import Method
from benchmarks.measure import Load, Rivals, Setting, throughput
from benchmarks.models import write_cross_encoder
from benchmarks.reference import Reference
from benchmarks.report import Section, reference_rows, throughput_rows
from benchmarks.roofline import Cut, Plain, Roofline
from services.inference.graph.heads import ClassificationHead

MAX_TOKENS: Final = 256
SEARCHED_PAIRS: Final = 256
SEARCH_PASSES: Final = 2
FINALISTS: Final = 3
LEAST: Final = 0.88
"""What bulk loads are held to: those that keep the engine busy whatever the caller does between two calls."""

MODEL_FOLDER: Final = "cross-encoder"
MODELS: Final = """
[models.measured]
capability = "{capability}"
source = "dir:{folder}"
max_input_tokens = {max_tokens}
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A capability whose models read pairs.

    Attributes:
        title: Heading of its section.
        method: Its method.
        labels: What its model's outputs are called.
        cut: Which text of a pair is cut by the service, and so by the plain loop.
        loads: The loads; those that send the same pairs form one group.
    """

    title: str
    method: Method
    labels: Sequence[str]
    cut: Cut
    loads: Sequence[Sequence[Load]]


RERANK: Final = Subject(
    title="Reranking",
    method="rerank",
    labels=("LABEL_0",),
    cut="only_second",
    loads=(
        (
            Load("rerank", 768, per_call=32, callers=1, least=None),
            Load("rerank", 768, per_call=32, callers=8, least=LEAST),
        ),
        (
            Load("rerank", 1200, per_call=100, callers=1, least=LEAST),
            Load("rerank", 1200, per_call=100, callers=8, least=LEAST),
        ),
    ),
)
NLI: Final = Subject(
    title="NLI",
    method="nli",
    labels=("contradiction", "entailment", "neutral"),
    cut="only_first",
    loads=(
        (
            Load("nli", 1024, per_call=64, callers=1, least=LEAST),
            Load("nli", 1024, per_call=64, callers=8, least=LEAST),
        ),
    ),
)


def rerank(setting: Setting) -> Section:
    """Run everything that concerns the rerank service."""
    return _measure(RERANK, setting)


def nli(setting: Setting) -> Section:
    """Run everything that concerns the nli service."""
    return _measure(NLI, setting)


def _measure(subject: Subject, setting: Setting) -> Section:
    model = write_cross_encoder(setting.folder / MODEL_FOLDER, subject.labels)
    sections = MODELS.format(capability=subject.method, folder=MODEL_FOLDER, max_tokens=MAX_TOKENS)
    with (
        BenchCluster(setting.folder, Served(subject.method, sections)) as cluster,
        _reference(setting, model) as reference,
    ):
        plain = Plain(model, ClassificationHead(len(subject.labels)), MAX_TOKENS, subject.cut)
        roofline = Roofline(plain, setting.folder / "plain")
        setting.tell(f"{subject.method}: searching for the fastest plain loop")
        first = _pairs(subject.loads[0][0])[: SEARCHED_PAIRS // setting.divisor]
        searched = roofline.narrow_down(first, FINALISTS, SEARCH_PASSES) | reference.narrow_down(first)
        rows = []
        for group in subject.loads:
            loads = [load.divided(setting.divisor) for load in group]
            rivals = Rivals(_pairs(loads[0]), roofline, reference)
            for load, result in zip(loads, throughput(cluster, rivals, loads, setting), strict=True):
                rows += [*throughput_rows(load, result), *reference_rows(result, reference)]
        note = f"Beside it: {reference.name}." if reference.name else ""
    return Section(subject.title, rows, searched, f"{len(first)} pairs", note)


def _reference(setting: Setting, model: Path) -> Reference:
    reference = Reference(setting.reference_python, model, MAX_TOKENS, setting.folder / "reference.log")
    setting.tell(f"sentence-transformers: {reference.problem or reference.name}")
    return reference


def _pairs(load: Load) -> list[Pair]:
    if load.method == "nli":
        return sentence_pairs(load.items)
    return [pair for search in searches(load.items, load.per_call) for pair in search.pairs]
