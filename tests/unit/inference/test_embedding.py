from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.config import Limits
from services.inference.errors import InferenceError, InferenceFailed, InputTooLong, InvalidInput, QueueFull
from services.inference.models.embedding import EmbeddingModel, EmbedOptions, InputType
from tests.support.engine_parts import (
    LIMIT_SECONDS,
    GatedRunner,
    gated_model,
    load_embedding_model,
    section,
    workshop,
)
from tests.support.graphs import numpy_model
from tests.support.numpy_bert import NumpyBert
from tests.support.onnx_files import POISON_TEXT, write_onnx
from tests.support.tiny import write_model, write_tokenizer

PROMPTS: dict[InputType | None, str] = {"query": "the cat: ", "document": "a dog ", None: ""}
LIMITS = Limits(max_client_batch_size=300, max_input_characters=400)
SECRET = "zanzibar"


class Reference:
    """What the model should answer: the library's tokens, the numpy model's numbers."""

    def __init__(self, folder: Path) -> None:
        self._bert: NumpyBert = numpy_model(folder)
        self._tokenizer = write_tokenizer(folder.parent / "reference.json")

    def embed(self, text: str, *, dimensions: int | None = None, normalize: bool = True) -> NDArray[Any]:
        """Return the embedding of one text."""
        kept = self._bert.embed(self._tokenizer.encode(text).ids)[:dimensions]
        return kept / np.linalg.norm(kept) if normalize else kept

    def tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self._tokenizer.encode(text).ids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model."""
    return write_model(tmp_path_factory.mktemp("embedding") / "model")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    """What it should answer."""
    return Reference(folder)


@pytest.fixture(scope="module")
async def model(folder: Path) -> AsyncIterator[EmbeddingModel]:
    """The model, loaded, with a prompt for each type of input."""
    prompts = {"query_prompt": PROMPTS["query"], "document_prompt": PROMPTS["document"]}
    place = workshop(folder.parent, limits=LIMITS)
    model, _ = await load_embedding_model(section(folder, **prompts), place)
    yield model
    await model.close()


@pytest.mark.parametrize("input_type", ["query", "document", None])
async def test_prompt_of_the_input_type_is_put_before_each_text(
    model: EmbeddingModel, reference: Reference, input_type: InputType | None
) -> None:
    """Retrieval models are trained with prefixes; without them they find less."""
    texts = ["runs fast", "green tree"]

    embeddings = await model.embed(texts, EmbedOptions(input_type=input_type))

    prompted = [PROMPTS[input_type] + text for text in texts]
    expected = [reference.embed(text) for text in prompted]
    np.testing.assert_allclose(embeddings.vectors, expected, rtol=0, atol=1e-5)
    assert embeddings.input_tokens == sum(map(reference.tokens, prompted))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dimensions", [None, 1, 7, 32])
async def test_dimensions_are_cut_and_scaled_as_asked(
    model: EmbeddingModel, reference: Reference, dimensions: int | None, normalize: bool
) -> None:
    """One dimension and all of them are allowed; a shortened embedding has length 1 again."""
    options = EmbedOptions(dimensions=dimensions, normalize=normalize)

    embeddings = await model.embed(["the cat sits", "a"], options)

    expected = [
        reference.embed(text, dimensions=dimensions, normalize=normalize) for text in ("the cat sits", "a")
    ]
    np.testing.assert_allclose(embeddings.vectors, expected, rtol=0, atol=1e-5)


async def test_order_of_the_inputs_is_kept(model: EmbeddingModel, reference: Reference) -> None:
    """Three hundred texts of mixed length, run in many batches, sorted by length on the way."""
    texts = [f"{'the cat sits on ' * (number % 7)}{number}" for number in range(LIMITS.max_client_batch_size)]

    embeddings = await model.embed(texts, EmbedOptions())

    expected = [reference.embed(text) for text in texts]
    np.testing.assert_allclose(embeddings.vectors, expected, rtol=0, atol=1e-5)


async def test_text_has_the_same_embedding_in_every_company(model: EmbeddingModel) -> None:
    """Callers store embeddings and compare them with later ones."""
    text = "the cat sits on the mat"
    alone = (await model.embed([text], EmbedOptions())).vectors[0]

    calls = [
        model.embed([f"{'dog ' * length}", text, "a"], EmbedOptions(truncation="right"))
        for length in (1, 3, 20, 50)
    ]

    for embeddings in await asyncio.gather(*calls):
        np.testing.assert_allclose(embeddings.vectors[1], alone, rtol=0, atol=1e-5)


async def test_usage_counts_what_was_computed(model: EmbeddingModel) -> None:
    """Special tokens and prompts count, and what truncation cut off does not."""
    cut = await model.embed(["cat " * 90, "dog"], EmbedOptions(truncation="right"))
    prompted = await model.embed(["dog"], EmbedOptions(input_type="document"))

    assert cut.input_tokens == 64 + 3
    assert prompted.input_tokens == 5
    assert cut.tokenize_seconds > 0
    assert cut.inference_seconds > 0
    assert cut.queue_seconds >= 0


async def test_prompt_counts_towards_the_length(model: EmbeddingModel) -> None:
    """A text that just fits by itself may not fit behind its prompt; the caller learns why."""
    text = " ".join(["cat"] * 62)
    await model.embed([text], EmbedOptions())

    with pytest.raises(InputTooLong) as raised:
        await model.embed(["dog", text], EmbedOptions(input_type="document"))

    assert raised.value.violations == (("inputs[1]", "has 66 tokens, 2 more than the model takes"),)


async def test_counting_tokens_cuts_nothing_and_adds_no_prompt(model: EmbeddingModel) -> None:
    """It tells how long a text is, not what would be left of it."""
    assert await model.count_tokens(["cat", "cat " * 90]) == [3, 92]


@pytest.mark.parametrize(
    ("inputs", "options", "violations"),
    [
        ([], {}, [("inputs", "must hold at least 1 text")]),
        (["a"] * 301, {}, [("inputs", "has 301 texts, 300 at most per call")]),
        (["a", "b", "c", ""], {}, [("inputs[3]", "must not be empty")]),
        (["a", " \t\n\u3000"], {}, [("inputs[1]", "must not be empty")]),
        (["a" * 400, "b" * 401], {}, [("inputs[1]", "has 401 characters, 400 at most")]),
        (["a"], {"dimensions": 0}, [("dimensions", "is 0, must be 1 to 32")]),
        (["a"], {"dimensions": 33}, [("dimensions", "is 33, must be 1 to 32")]),
        (
            ["", "a", "b" * 500],
            {"dimensions": -1},
            [
                ("inputs[0]", "must not be empty"),
                ("inputs[2]", "has 500 characters, 400 at most"),
                ("dimensions", "is -1, must be 1 to 32"),
            ],
        ),
    ],
)
async def test_everything_that_is_wrong_is_named_at_once(
    model: EmbeddingModel, inputs: list[str], options: dict[str, Any], violations: list[tuple[str, str]]
) -> None:
    """With its path, so that a caller repairs a call in one go."""
    with pytest.raises(InvalidInput) as raised:
        await model.embed(inputs, EmbedOptions(**options))

    assert list(raised.value.violations) == violations
    for path, problem in violations:
        assert f"{path} {problem}" in str(raised.value)


@pytest.mark.parametrize("inputs", [[], [""], ["a" * 401], ["a"] * 301])
async def test_counting_refuses_what_embedding_refuses(model: EmbeddingModel, inputs: list[str]) -> None:
    """The limits protect the tokenizer as well."""
    with pytest.raises(InvalidInput):
        await model.count_tokens(inputs)


async def test_full_queue_refuses_the_whole_call(tmp_path: Path) -> None:
    """Half an answer is of no use; the caller learns how many wait and when to come back."""
    write_tokenizer(tmp_path / "tokenizer.json")
    runner = GatedRunner()
    model = gated_model(tmp_path / "tokenizer.json", runner)
    running = asyncio.create_task(model.embed(["the cat"] * 90, EmbedOptions()))
    assert await asyncio.to_thread(runner.begun.wait, LIMIT_SECONDS)
    waiting = model.queue_size

    with pytest.raises(QueueFull) as raised:
        await model.embed(["a"] * 50, EmbedOptions())

    assert raised.value.metadata == {"maxQueueSize": "100", "queueSize": str(waiting)}
    assert raised.value.retry_after_seconds is not None
    assert raised.value.retry_after_seconds > 0
    runner.gate.set()
    assert len((await running).vectors) == 90
    await model.close()


async def test_input_that_cannot_be_computed_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its call fails with the path; other calls do not; and its text is in no log."""
    folder = write_model(tmp_path / "model")
    write_onnx(folder / "model.onnx")
    model, _ = await load_embedding_model(section(folder), workshop(tmp_path))
    poisoned = f"{SECRET} {POISON_TEXT}"

    with caplog.at_level(logging.DEBUG):
        results = await asyncio.gather(
            model.embed(["cat", poisoned, "dog"], EmbedOptions()),
            *(model.embed(["cat", "dog"], EmbedOptions()) for _ in range(4)),
            return_exceptions=True,
        )
    await model.close()

    failed, *others = results
    assert isinstance(failed, InferenceFailed)
    assert failed.metadata == {"parameter": "inputs[1]"}
    assert not any(isinstance(other, BaseException) for other in others)
    assert [record.message for record in caplog.records] == ["an input could not be computed"]
    assert all(SECRET not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        ([f"{SECRET} " * 20], {}),
        ([SECRET * 100], {"truncation": "right"}),
        ([SECRET, ""], {}),
        ([SECRET] * 301, {}),
        ([SECRET], {"dimensions": 99}),
    ],
)
async def test_errors_never_contain_the_text(
    model: EmbeddingModel, inputs: list[str], options: dict[str, Any]
) -> None:
    """Status messages end up in logs of proxies and in other people's dashboards."""
    with pytest.raises(InferenceError) as raised:
        await model.embed(inputs, EmbedOptions(**options))

    told = f"{raised.value!s} {raised.value!r} {raised.value.metadata} {raised.value.violations}"
    assert SECRET not in told
