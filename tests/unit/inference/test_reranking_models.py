"""Cross-encoders and bi-encoders over real graphs, held against the same models in plain numpy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library

from services.artifacts import ArtifactProblem
from services.config import Limits, RerankModel
from services.inference.errors import InputTooLong, InvalidInput
from services.inference.loading import ModelLoader, reranking_recipe
from services.inference.models.bi_encoder import BiEncoder
from services.inference.models.cross_encoder import CrossEncoder
from services.inference.models.reranking import Ranking, Reranker, RerankOptions
from tests.support.engine_parts import ignore, workshop
from tests.support.graphs import numpy_model
from tests.support.reranking import order, scores
from tests.support.tiny import write_model
from tests.support.tiny_roberta import write_roberta, write_xlm_roberta

QUERY = "the cat sits"
DOCUMENTS = ("a dog runs fast", "the cat sits on the mat", "green", "a tree!", "the cat sits", "slow " * 40)
PROMPTS: dict[str, Any] = {"query_prompt": "a dog ", "document_prompt": "the tree "}
RAW = RerankOptions(raw_scores=True)
FAMILIES = {"bert": write_model, "roberta": write_roberta, "xlm-roberta": write_xlm_roberta}


@asynccontextmanager
async def loaded(folder: Path, *, limits: Limits | None = None, **settings: Any) -> AsyncIterator[Reranker]:
    """Load a reranker as the service does. In the end it is closed."""
    section = RerankModel(capability="rerank", source=f"dir:{folder}", **settings)
    loader = ModelLoader(workshop(folder.parent, limits=limits), reranking_recipe, lambda _: ignore)
    prepared = await loader.prepare("tiny", section, lambda _: None)
    model = await prepared.open()
    yield model
    await model.close()


def by_document(ranking: Ranking) -> NDArray[np.float64]:
    """Return scores in the order of the documents."""
    return np.array([one.score for one in sorted(ranking.results, key=lambda one: one.index)])


def logits(folder: Path) -> NDArray[np.float64]:
    """Return what the model of a folder says of each document, [documents, logits]."""
    bert, library = numpy_model(folder), Library.from_file(str(folder / "tokenizer.json"))
    encoded = [library.encode(QUERY, document) for document in DOCUMENTS]
    return np.array([bert.logits(one.ids, one.type_ids) for one in encoded])


def cosines(folder: Path, query: str, documents: Sequence[str]) -> NDArray[np.float64]:
    """Return the cosines of the embeddings of a query and of documents."""
    bert, library = numpy_model(folder), Library.from_file(str(folder / "tokenizer.json"))
    vectors = np.array([bert.embed(library.encode(text).ids) for text in (query, *documents)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors[1:] @ vectors[0])


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding model."""
    return write_model(tmp_path_factory.mktemp("reranking") / "model")


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
async def test_cross_encoder_scores_pairs_as_its_weights_say(
    tmp_path: Path, family: str, labels: int
) -> None:
    """Query first, document second, with the special tokens and types of the family."""
    write: Callable[..., Path] = FAMILIES[family]
    folder = write(tmp_path / "model", labels=labels)
    expected = logits(folder)
    raw = expected[:, 0] if labels == 1 else expected[:, 1] - expected[:, 0]

    async with loaded(folder) as model:
        assert isinstance(model, CrossEncoder)
        ranking = await model.rerank(QUERY, DOCUMENTS, RAW)
        between = await model.rerank(QUERY, DOCUMENTS, RerankOptions())

    np.testing.assert_allclose(by_document(ranking), raw, rtol=0, atol=1e-4)
    np.testing.assert_allclose(by_document(between), 1 / (1 + np.exp(-raw)), rtol=0, atol=1e-5)
    assert order(ranking) == list(np.argsort(-raw))


async def test_score_is_the_same_in_every_company(tmp_path: Path) -> None:
    """Other documents, of the same call or of others, do not change what a document gets."""
    folder = write_model(tmp_path / "model", labels=1)
    async with loaded(folder) as model:
        alone = (await model.rerank(QUERY, DOCUMENTS[:1], RAW)).results[0].score
        calls = [
            model.rerank(QUERY, [DOCUMENTS[0], *["cat " * length] * 3, "mat"], RAW)
            for length in (1, 5, 20, 40)
        ]
        company = await asyncio.gather(*calls, model.rerank("green", DOCUMENTS, RAW))

    for ranking in company[:-1]:
        assert by_document(ranking)[0] == pytest.approx(alone, abs=1e-5)


async def test_model_with_three_outputs_is_no_reranker(tmp_path: Path) -> None:
    """It is refused when it is loaded, with what it might be instead."""
    folder = write_model(tmp_path / "model", labels=3)
    with pytest.raises(ArtifactProblem, match="3 outputs, and rerankers have one or two"):
        async with loaded(folder):
            pass


async def test_embedding_model_is_no_cross_encoder_and_is_told_what_it_could_be(embedder: Path) -> None:
    """The setting that makes it a reranker is part of the message."""
    with pytest.raises(ArtifactProblem, match='kind = "bi-encoder"'):
        async with loaded(embedder):
            pass


async def test_bi_encoder_scores_by_the_cosine_of_prompted_texts(embedder: Path) -> None:
    """Raw it is the cosine itself; else it is brought between 0 and 1 without changing the order."""
    prompted = [PROMPTS["document_prompt"] + document for document in DOCUMENTS]
    expected = cosines(embedder, PROMPTS["query_prompt"] + QUERY, prompted)

    async with loaded(embedder, kind="bi-encoder", **PROMPTS) as model:
        assert isinstance(model, BiEncoder)
        raw = await model.rerank(QUERY, DOCUMENTS, RAW)
        between = await model.rerank(QUERY, DOCUMENTS, RerankOptions())

    np.testing.assert_allclose(by_document(raw), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(by_document(between), (1 + expected) / 2, rtol=0, atol=1e-5)
    assert order(raw) == order(between) == list(np.argsort(-expected))


async def test_bi_encoder_computes_query_and_distinct_documents_once(embedder: Path) -> None:
    """Usage counts each text once, the query included; a text is as similar as can be to itself."""
    async with loaded(embedder, kind="bi-encoder") as model:
        ranking = await model.rerank(QUERY, ["dog", QUERY, "dog", QUERY], RerankOptions(top_n=3))

    assert order(ranking) == [1, 3, 0]
    assert scores(ranking)[0] == scores(ranking)[1] == pytest.approx(1.0, abs=1e-6)
    assert max(scores(ranking)) <= 1.0
    assert ranking.input_tokens == 5 + 3 + 5


async def test_bi_encoder_cuts_documents_and_never_the_query(embedder: Path) -> None:
    """A document that is too long is named, or cut where the call allows it; a query is refused anyway."""
    long = "cat " * 62 + "dog " * 30
    cut = RerankOptions(truncation="right", raw_scores=True)
    async with loaded(embedder, kind="bi-encoder") as model:
        with pytest.raises(InputTooLong) as document:
            await model.rerank(QUERY, ["cat", "cat", long], RAW)
        with pytest.raises(InputTooLong) as query:
            await model.rerank(long, ["cat"], cut)
        ranking = await model.rerank(QUERY, ["dog", long], cut)

    assert [path for path, _ in document.value.violations] == ["documents[2]"]
    assert [path for path, _ in query.value.violations] == ["query"]
    expected = cosines(embedder, QUERY, ["dog", "cat " * 62])
    np.testing.assert_allclose(by_document(ranking), expected, rtol=0, atol=1e-5)


async def test_bi_encoder_takes_as_many_documents_as_its_queue_has_room_for(embedder: Path) -> None:
    """Beside the query there is room for one text less, and the caller is told so at once."""
    limits = Limits(max_queue_size=6, max_client_batch_size=6, max_batch_size=6)
    documents = [f"cat {place}" for place in range(6)]
    async with loaded(embedder, limits=limits, kind="bi-encoder") as model:
        assert len((await model.rerank(QUERY, documents[:5], RAW)).results) == 5
        with pytest.raises(InvalidInput) as raised:
            await model.rerank(QUERY, documents, RAW)
        assert await model.count_tokens(documents) == [4] * 6

    assert raised.value.violations == (("documents", "has 6 documents, 5 at most per call"),)


async def test_bi_encoder_answers_a_thousand_documents(embedder: Path) -> None:
    """Split up inside, in many batches, and put together in the right order."""
    documents = [f"{'cat ' * (place % 9)}{place}" for place in range(1_000)]
    async with loaded(embedder, kind="bi-encoder") as model:
        ranking = await model.rerank(QUERY, documents, RAW)

    expected = cosines(embedder, QUERY, documents[::97])
    np.testing.assert_allclose(by_document(ranking)[::97], expected, rtol=0, atol=1e-5)
    assert scores(ranking) == sorted(scores(ranking), reverse=True)
