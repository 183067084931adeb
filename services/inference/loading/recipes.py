"""What is particular about each kind of model: what its graph is run for, and what stands on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.artifacts import ArtifactProblem, Artifacts
from services.config import EmbedModel, Limits, Model, NliModel, Pooling, RerankModel
from services.inference.batching import Batcher
from services.inference.loading.purpose import Purpose, label_names
from services.inference.models.bi_encoder import BiEncoder
from services.inference.models.cross_encoder import CrossEncoder
from services.inference.models.embedding import EmbeddingModel
from services.inference.models.labels import read_roles
from services.inference.models.nli import EntailmentModel
from services.inference.models.reranking import Reranker
from services.inference.tokenizer import Tokenizer

S = TypeVar("S", bound=Model)
M = TypeVar("M")

MOST_RELEVANCE_LOGITS: Final = 2

LEAST_SEARCH: Final = 2
"""How many inputs the smallest search has: a query and a document."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model is made of.

    Attributes:
        limits: How much a call may hold.
        tokenizer: Its tokenizer.
        batcher: Its batcher.
        width: Length of the row that the batcher gives for each input.
        labels: Names of the logits, in their order; empty for embeddings.
    """

    limits: Limits
    tokenizer: Tokenizer
    batcher: Batcher
    width: int
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe(Generic[S, M]):
    """How models of one kind are made.

    Attributes:
        purpose: What the graph is run for. Raises ArtifactProblem if the folder does not fit.
        check: Given that and the length of the rows that the graph really gives, raises ArtifactProblem if
            they do not fit.
        make: Puts the model together.
    """

    purpose: Callable[[S, Artifacts], Purpose]
    check: Callable[[Purpose, int], None]
    make: Callable[[S, Parts], M]


def _embedding_purpose(section: EmbedModel | RerankModel, artifacts: Artifacts) -> Purpose:
    pooling: Pooling | None = section.pooling or artifacts.pooling
    if pooling is None:
        silent = "neither the configuration nor the model's folder says how to pool; set pooling"
        raise ArtifactProblem(artifacts.pooling_problem or silent)
    return Purpose(pooling=pooling, prompts=(section.query_prompt, section.document_prompt))


def _no_check(purpose: Purpose, width: int) -> None:
    """Accept embeddings of any length."""


def _embedding_model(section: EmbedModel | RerankModel, parts: Parts) -> EmbeddingModel:
    return EmbeddingModel(section, parts.limits, parts.tokenizer, parts.batcher, parts.width)


def _reranking_purpose(section: RerankModel, artifacts: Artifacts) -> Purpose:
    if section.kind == "bi-encoder":
        return _embedding_purpose(section, artifacts)
    return Purpose(labels=label_names(artifacts.config))


def _check_relevance(purpose: Purpose, width: int) -> None:
    if purpose.pooling is None and width > MOST_RELEVANCE_LOGITS:
        message = (
            f"the model has {width} outputs, and rerankers have one or two; "
            'is it an NLI model, or an embedding model (kind = "bi-encoder")?'
        )
        raise ArtifactProblem(message)


def _reranker(section: RerankModel, parts: Parts) -> Reranker:
    if section.kind == "bi-encoder":
        if parts.limits.max_queue_size < LEAST_SEARCH:
            message = (
                f"limits.max_queue_size is {parts.limits.max_queue_size}, and a bi-encoder needs "
                f"{LEAST_SEARCH}: the query waits beside its document"
            )
            raise ArtifactProblem(message)
        return BiEncoder(_embedding_model(section, parts), parts.limits)
    return CrossEncoder(parts.limits, parts.tokenizer, parts.batcher)


def _nli_purpose(section: NliModel, artifacts: Artifacts) -> Purpose:
    labels = section.labels or label_names(artifacts.config)
    read_roles(labels)
    return Purpose(labels=labels)


def _check_labels(purpose: Purpose, width: int) -> None:
    if width != len(purpose.labels):
        message = f"the model has {width} outputs, but {len(purpose.labels)} labels"
        raise ArtifactProblem(message)


def _entailment_model(section: NliModel, parts: Parts) -> EntailmentModel:
    del section
    return EntailmentModel(parts.limits, parts.tokenizer, parts.batcher, read_roles(parts.labels))


embedding_recipe: Final[Recipe[EmbedModel, EmbeddingModel]] = Recipe(
    _embedding_purpose, _no_check, _embedding_model
)
reranking_recipe: Final[Recipe[RerankModel, Reranker]] = Recipe(
    _reranking_purpose, _check_relevance, _reranker
)
nli_recipe: Final[Recipe[NliModel, EntailmentModel]] = Recipe(_nli_purpose, _check_labels, _entailment_model)
