from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.artifacts import ArtifactProblem, examine
from services.config import Engine, Limits
from services.inference.batching import BatchStats
from services.inference.encoding import Encoding
from services.inference.lifecycle import ModelFacts, Precision
from services.inference.loading import Workshop, engine, materials
from services.inference.loading.choices import choose_precision
from services.inference.models.embedding import EmbeddingModel, EmbedOptions
from services.inference.runner import SessionRunner, open_runner
from services.inference.session import ExecutionProvider
from services.inference.tokenizer import read_tokenizer
from tests.support.engine_parts import load_embedding_model, section, workshop
from tests.support.graphs import numpy_model
from tests.support.onnx_files import write_onnx
from tests.support.tiny import Shape, write_model, write_tokenizer

AS_IT_IS = EmbedOptions(normalize=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that a graph has to be built for."""
    return write_model(tmp_path / "model")


async def load(place: Workshop, folder: Path, **settings: Any) -> tuple[EmbeddingModel, ModelFacts]:
    """Load a model as the service does."""
    return await load_embedding_model(section(folder, **settings), place)


async def facts_of(place: Workshop, folder: Path, **settings: Any) -> ModelFacts:
    """Load a model, give it back, and return what was found out."""
    model, facts = await load(place, folder, **settings)
    await model.close()
    return facts


async def test_loaded_model_computes_what_the_weights_say(tmp_path: Path, folder: Path) -> None:
    """From the folder to the numbers, through tokenizer, builder, batcher and session."""
    ids = write_tokenizer(tmp_path / "tokenizer.json").encode("the cat sits").ids

    model, facts = await load(workshop(tmp_path), folder)
    embeddings = await model.embed(["the cat sits"], AS_IT_IS)
    await model.close()

    np.testing.assert_allclose(embeddings.vectors[0], numpy_model(folder).embed(ids), rtol=0, atol=1e-5)
    assert replace(facts, fingerprint="") == ModelFacts(
        fingerprint="",
        architecture="bert",
        precision="fp32",
        execution_provider="cpu",
        pooling="mean",
        dimensions=32,
        max_input_tokens=64,
    )
    assert (model.dimensions, model.max_input_tokens, model.queue_size) == (32, 64, 0)


async def test_finished_batches_are_observed(tmp_path: Path, folder: Path) -> None:
    """Metrics come from there."""
    seen: list[BatchStats] = []
    model, _ = await load_embedding_model(section(folder), workshop(tmp_path), seen.append)

    await model.embed(["the cat sits"], AS_IT_IS)
    await model.close()

    assert [stats.tokens for stats in seen] == [5]


async def test_ready_made_graph_is_run_as_it_is(tmp_path: Path) -> None:
    """It needs neither weights nor a config.json, only to be told how to pool."""
    folder = tmp_path / "model"
    write_onnx(folder / "model.onnx")
    write_tokenizer(folder / "tokenizer.json")

    facts = await facts_of(workshop(tmp_path), folder, pooling="cls", max_input_tokens=40)

    assert (facts.architecture, facts.dimensions, facts.max_input_tokens) == ("", 6, 40)
    assert not (tmp_path / "cache" / "graphs").exists()


@pytest.mark.parametrize(
    ("provider", "asked", "precision"),
    [
        ("cpu", None, "fp32"),
        ("cpu", "fp32", "fp32"),
        ("cuda", None, "fp16"),
        ("cuda", "fp32", "fp32"),
        ("openvino", None, "bf16"),
        ("openvino", "fp32", "fp32"),
    ],
)
def test_precision_depends_on_what_computes(
    folder: Path, provider: ExecutionProvider, asked: Precision | None, precision: Precision
) -> None:
    """The default is what is fastest there without changing answers noticeably."""
    artifacts = examine(folder, None)

    chosen = choose_precision(
        section(folder, precision=asked), Engine(execution_provider=provider), artifacts
    )

    assert chosen == precision


@pytest.mark.parametrize(
    ("provider", "asked", "usable"),
    [
        ("cpu", "fp16", "fp32"),
        ("cpu", "bf16", "fp32"),
        ("cuda", "bf16", "fp32 or fp16"),
        ("openvino", "fp16", "fp32 or bf16"),
    ],
)
async def test_precision_that_does_not_run_is_refused(
    tmp_path: Path, folder: Path, provider: ExecutionProvider, asked: Precision, usable: str
) -> None:
    """Quietly computing in another precision would change answers behind the operator's back."""
    place = workshop(tmp_path, engine=Engine(execution_provider=provider, calibrate=False))

    with pytest.raises(ArtifactProblem, match=f"precision {asked} does not run on {provider}; use {usable}$"):
        await load(place, folder, precision=asked)


def test_ready_made_graph_keeps_its_precision(tmp_path: Path) -> None:
    """On a GPU the default is fp16, but only graphs that are built here can have it."""
    folder = write_model(tmp_path / "model")
    write_onnx(folder / "model.onnx")
    artifacts, engine = examine(folder, None), Engine(execution_provider="cuda")

    assert choose_precision(section(folder), engine, artifacts) == "fp32"
    with pytest.raises(ArtifactProblem, match=r"a ready-made .onnx file keeps the precision"):
        choose_precision(section(folder, precision="fp16"), engine, artifacts)


async def test_more_tokens_than_positions_are_refused(tmp_path: Path, folder: Path) -> None:
    """The first long text would fail, in production."""
    with pytest.raises(ArtifactProblem, match="max_input_tokens 65 is more than the model's 64 positions"):
        await load(workshop(tmp_path), folder, max_input_tokens=65)


@pytest.mark.parametrize(
    ("asked", "said", "limit"), [(64, 20, 64), (None, 20, 20), (None, None, 64), (None, 512, 64)]
)
async def test_section_goes_before_the_folder(
    tmp_path: Path, folder: Path, asked: int | None, said: int | None, limit: int
) -> None:
    """The longest input is what the configuration says, else the folder, at most the number of positions."""
    if said is not None:
        content = json.dumps({"max_seq_length": said})
        (folder / "sentence_bert_config.json").write_text(content, encoding="utf-8")

    assert (await facts_of(workshop(tmp_path), folder, max_input_tokens=asked)).max_input_tokens == limit


async def test_unknown_pooling_is_refused(tmp_path: Path) -> None:
    """A guess would give embeddings that look fine and find nothing."""
    folder = write_model(tmp_path / "model", pooling=None)

    with pytest.raises(ArtifactProblem, match=r"neither .* says how to pool; set pooling"):
        await load(workshop(tmp_path), folder)


async def test_configured_pooling_goes_before_the_folder(tmp_path: Path, folder: Path) -> None:
    """Whoever sets it knows better than a file that came with the model."""
    ids = write_tokenizer(tmp_path / "tokenizer.json").encode("the cat").ids

    model, facts = await load(workshop(tmp_path), folder, pooling="cls")
    embeddings = await model.embed(["the cat"], AS_IT_IS)
    await model.close()

    assert facts.pooling == "cls"
    np.testing.assert_allclose(
        embeddings.vectors[0], numpy_model(folder).embed(ids, "cls"), rtol=0, atol=1e-5
    )


async def test_broken_tokenizer_is_found_before_anything_is_built(tmp_path: Path, folder: Path) -> None:
    """Building and measuring take seconds; what needs milliseconds to fail should fail first."""
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")

    with pytest.raises(ArtifactProblem, match=r"^tokenizer.json cannot be read"):
        await load(workshop(tmp_path), folder)

    assert not (tmp_path / "cache").exists()


async def test_tokenizer_is_read_off_the_event_loop(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large vocabulary takes a second, for which the other models would not answer."""
    threads: list[threading.Thread] = []

    def note_thread(path: Path, max_tokens: int, *, pairs: bool) -> Any:
        threads.append(threading.current_thread())
        return read_tokenizer(path, max_tokens, pairs=pairs)

    monkeypatch.setattr(materials, "read_tokenizer", note_thread)

    await facts_of(workshop(tmp_path), folder)

    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_graph_that_does_not_run_is_a_problem(tmp_path: Path) -> None:
    """Found at the start, not by the first caller: 128 tokens, but the file has only 100 positions."""
    folder = tmp_path / "model"
    write_onnx(folder / "model.onnx", inputs=("input_ids", "attention_mask", "position_ids"))
    write_tokenizer(folder / "tokenizer.json")

    with pytest.raises(ArtifactProblem, match="the model does not run on an input of 128 tokens"):
        await load(workshop(tmp_path), folder, pooling="mean", max_input_tokens=128)


async def test_graph_that_takes_no_batches_is_a_problem(tmp_path: Path) -> None:
    """Exports for one text at a time exist; the first two callers at a time must not find out."""
    folder = tmp_path / "model"
    write_onnx(folder / "model.onnx", batch=1)
    write_tokenizer(folder / "tokenizer.json")

    with pytest.raises(ArtifactProblem, match=r"does not run on batches .* one text at a time"):
        await load(workshop(tmp_path), folder, pooling="mean", max_input_tokens=64)


@dataclass(frozen=True, slots=True)
class NotingRunner:
    """A runner that notes what it is given, and has the memory for so many tokens.

    Attributes:
        runner: What computes.
        runs: Texts, tokens of the longest one and whether all threads were given, of each run.
        most: A run of more tokens than this fails.
    """

    runner: SessionRunner
    runs: list[tuple[int, int, bool]]
    most: int = 1_000_000

    @property
    def lanes(self) -> int:
        """How many runs go on at a time."""
        return self.runner.lanes

    @property
    def has_wide(self) -> bool:
        """Whether one batch can be given all the threads."""
        return self.runner.has_wide

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[Any]:
        """Run a batch, unless it is too large."""
        size, longest = len(encodings), max(map(len, encodings))
        self.runs.append((size, longest, wide))
        if size * longest > self.most:
            raise MemoryError
        return self.runner.run(encodings, wide=wide)


def noting(monkeypatch: pytest.MonkeyPatch, most: int = 1_000_000) -> list[tuple[int, int, bool]]:
    """Return what models that are loaded from now on are run with."""
    runs: list[tuple[int, int, bool]] = []
    monkeypatch.setattr(engine, "open_runner", lambda *how: NotingRunner(open_runner(*how), runs, most))
    return runs


async def test_model_of_long_texts_is_not_warmed_up_with_long_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention over 2048 tokens on every lane would take a gigabyte, and keep it."""
    runs = noting(monkeypatch)
    folder = write_model(tmp_path / "model", shape=Shape(max_position_embeddings=2048))

    facts = await facts_of(workshop(tmp_path), folder)

    assert facts.max_input_tokens == 2048
    assert sorted(runs) == [
        (1, 1, False),
        (1, 1, True),
        (1, 384, False),
        (1, 384, False),
        (1, 512, True),
        (48, 8, False),
        (48, 8, False),
    ]


async def test_size_that_nobody_asked_for_is_halved_until_it_runs(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device with little memory runs the model, in smaller batches than there are by default."""
    runs = noting(monkeypatch, most=100)

    await facts_of(workshop(tmp_path), folder)

    assert max(size * longest for size, longest, _ in runs[-4:]) == 96


async def test_size_that_was_asked_for_and_does_not_run_is_a_problem(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator is told which setting it is, and not given another one in silence."""
    noting(monkeypatch, most=100)
    place = workshop(tmp_path, limits=Limits(max_batch_tokens=200))

    with pytest.raises(ArtifactProblem, match=r"batches of 200 tokens, set limits\.max_batch_tokens"):
        await load(place, folder)


async def test_calibration_is_measured_once(tmp_path: Path, folder: Path) -> None:
    """The second start takes what the first has measured; what it cannot read it measures again."""
    place = workshop(tmp_path, engine=Engine(threads=2))
    await facts_of(place, folder)
    (file,) = (tmp_path / "cache" / "calibrations").iterdir()
    file.write_text(
        sentinel := '{"max_batch_tokens":77,"overhead_tokens":1.5,"tokens_per_second":9.0}', "utf-8"
    )

    await facts_of(place, folder)
    assert file.read_text("utf-8") == sentinel
    file.write_text("damaged", "utf-8")
    await facts_of(place, folder)

    assert json.loads(file.read_text("utf-8")).keys() == json.loads(sentinel).keys()


@pytest.mark.parametrize(
    ("engine", "limits"),
    [(Engine(threads=1, calibrate=False), Limits()), (Engine(threads=1), Limits(max_batch_tokens=100))],
)
async def test_nothing_is_measured_where_nothing_needs_it(
    tmp_path: Path, folder: Path, engine: Engine, limits: Limits
) -> None:
    """Switched off, or the number is given."""
    await facts_of(workshop(tmp_path, engine=engine, limits=limits), folder)

    assert not (tmp_path / "cache" / "calibrations").exists()


async def test_loading_does_not_hold_the_event_loop(tmp_path: Path, folder: Path) -> None:
    """The loop takes other turns while files are read and graphs are built."""
    turns = 0
    task = asyncio.create_task(facts_of(workshop(tmp_path), folder))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1

    assert (await task).dimensions == 32
    assert turns > 10
