"""LoRA adapters in a real service, and what it says of adapters and weights that are damaged or foreign.

One process has all of the models: what is wrong with some must not trouble the others.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import pytest
from inglenook.common.v1 import ModelInfo, ModelState
from inglenook.model.v1 import GetModelRequest, ListModelsRequest, LoadModelRequest
from inglenook.nli.v1 import InferRequest, Pair
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tests.support.configuration import describe_model, write_cluster
from tests.support.routing import failed
from tests.support.stage import Stage, staged_from
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiny import Shape, dense_layers, write_model
from tests.support.tiny_adapter import merged, write_adapter
from tests.support.zero_shot import CLASSES, write_nli_model

LABELS: Final = CLASSES["contradiction_first"]
PAIRS: Final = (("the cat sits", "a cat runs"), ("green", "the tree is slow"), ("a dog!", "a dog"))
HEAD: Final = dense_layers({"classifier": (3, 32)}, 5)
CLOSE: Final = 1e-5


class Trap:
    """Leaves a file when it is unpickled, as code of a stranger would."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


@dataclass(frozen=True)
class Parts:
    """A model and its adapter, to be broken.

    Attributes:
        base: The model's folder.
        adapter: The adapter's folder.
        trap: The file that would be there if a pickle had been loaded.
    """

    base: Path
    adapter: Path
    trap: Path

    def truncate(self, path: Path) -> None:
        """Keep a part of a file, as a download that broke off does."""
        path.write_bytes(path.read_bytes()[:1000])

    def pickle(self, path: Path) -> None:
        """Put a pickle in the place of a safetensors file."""
        path.with_suffix(".safetensors").unlink()
        path.write_bytes(pickle.dumps(Trap(self.trap)))


def foreign(parts: Parts) -> None:
    """Give the model an adapter that was trained on wider weights."""
    other = write_model(parts.base.parent / "wider", shape=Shape(hidden_size=40), labels=3)
    write_adapter(parts.adapter, other)


def pickled_weights(parts: Parts) -> None:
    """Have the weights in the format of old."""
    (parts.base / "model.safetensors").unlink()
    (parts.base / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(parts.trap)))


BROKEN: Final[dict[str, tuple[Callable[[Parts], object], tuple[str, ...]]]] = {
    "foreign-adapter": (foreign, ("adapter_model.safetensors", "(2, 40)", "(2, 32)", "for other weights")),
    "corrupt-adapter": (
        lambda parts: parts.truncate(parts.adapter / "adapter_model.safetensors"),
        ("adapter_model.safetensors",),
    ),
    "garbled-adapter": (
        lambda parts: (parts.adapter / "adapter_model.safetensors").write_bytes(b"\xff" * 100),
        ("adapter_model.safetensors",),
    ),
    "pickled-adapter": (
        lambda parts: parts.pickle(parts.adapter / "adapter_model.bin"),
        ("has no adapter_model.safetensors", "pickle files are not loaded", "convert them to safetensors"),
    ),
    "adapter-without-config": (
        lambda parts: (parts.adapter / "adapter_config.json").unlink(),
        ("has no adapter_config.json",),
    ),
    "corrupt-weights": (
        lambda parts: parts.truncate(parts.base / "model.safetensors"),
        ("model.safetensors",),
    ),
    "pickled-weights": (
        pickled_weights,
        ("has no model.safetensors", "pickle files are not loaded", "convert them to safetensors"),
    ),
}
"""How each model is broken, and what has to be said of it."""


def write_parts(folder: Path) -> Parts:
    """Write a model and its adapter, which brings a head of its own."""
    base = write_nli_model(folder / "base", *LABELS)
    return Parts(base, write_adapter(folder / "adapter", base, saved=HEAD), folder / "was-run")


def section(name: str, parts: Parts) -> str:
    """Return the TOML of a model with its adapter."""
    return describe_model("nli", name, parts.base, f'adapter = "dir:{parts.adapter}"')


@dataclass(frozen=True)
class Case:
    """A running cluster, and the files of its broken models."""

    stage: Stage
    parts: dict[str, Parts]


@pytest.fixture(scope="module")
async def case(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Case]:
    """Run an nli service and a router over models as they should be, and models that are broken."""
    folder = tmp_path_factory.mktemp("adapters")
    whole = write_parts(folder / "whole")
    shutil.copytree(whole.base, folder / "merged")
    save_file(merged(whole.base, whole.adapter), folder / "merged" / "model.safetensors")
    models = [
        describe_model("nli", "plain", whole.base),
        section("adapted", whole),
        describe_model("nli", "merged", folder / "merged"),
    ]
    parts = {}
    for name, (damage, _) in BROKEN.items():
        parts[name] = write_parts(folder / name)
        damage(parts[name])
        models.append(section(name, parts[name]))
    async with staged_from(write_cluster(folder, "".join(models), {"nli": 1})) as stage:
        yield Case(stage, parts)


async def judge(stage: Stage, model: str) -> NDArray[np.float64]:
    """Return what a model says of `PAIRS`, [pairs, classes]."""
    results = (await stage.nli.Infer(request(model), timeout=LIMIT_SECONDS)).results
    return np.array([[one.entailment, one.neutral, one.contradiction] for one in results])


def request(model: str) -> InferRequest:
    """Return a request about `PAIRS`."""
    return InferRequest(model=model, pairs=[Pair(premise=one, hypothesis=other) for one, other in PAIRS])


async def info(stage: Stage, model: str) -> ModelInfo:
    """Return what is said of a model."""
    return (await stage.models.GetModel(GetModelRequest(model=model), timeout=LIMIT_SECONDS)).model


async def test_a_model_with_an_adapter_answers_as_the_merged_weights_do(case: Case) -> None:
    """And not as the model without it; fingerprints tell all three apart."""
    adapted, whole, plain = [await judge(case.stage, name) for name in ("adapted", "merged", "plain")]
    np.testing.assert_allclose(adapted, whole, rtol=0, atol=CLOSE)
    assert np.abs(adapted - plain).max() > 0.05
    fingerprints = {(await info(case.stage, name)).fingerprint for name in ("adapted", "merged", "plain")}
    assert len(fingerprints) == 3


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_model_says_which_file_and_why_and_works_once_it_is_mended(
    case: Case, name: str
) -> None:
    """FAILED with the reason for operators, MODEL_FAILED for callers; LoadModel reads the files again."""
    stage, parts, told = case.stage, case.parts[name], BROKEN[name][1]
    described = await info(stage, name)
    assert described.state == ModelState.MODEL_STATE_FAILED
    load = LoadModelRequest(model=name)
    asked = await failed(stage.nli.Infer(request(name), timeout=LIMIT_SECONDS))
    loaded = await failed(stage.models.LoadModel(load, timeout=LIMIT_SECONDS))
    for refused in (asked, loaded):
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
        assert refused.metadata == {"model": name}
    for message in (described.state_detail, asked.message, loaded.message):
        assert all(words in message for words in told), message
        assert "internal error" not in message
    assert not parts.trap.exists(), "a pickle was loaded"

    shutil.rmtree(parts.base)
    shutil.rmtree(parts.adapter)
    write_parts(parts.base.parent)
    mended = await stage.models.LoadModel(load, timeout=LIMIT_SECONDS)
    assert (mended.model.state, mended.model.state_detail) == (ModelState.MODEL_STATE_READY, "")
    np.testing.assert_allclose(await judge(stage, name), await judge(stage, "merged"), rtol=0, atol=CLOSE)


async def test_models_that_are_whole_answer_beside_those_that_are_broken(case: Case) -> None:
    """The service says SERVING, and lists all of its models, each with its own state."""
    assert await case.stage.serves("inglenook.nli.v1.NliService")
    listed = (await case.stage.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)).models
    assert [one.name for one in listed] == ["plain", "adapted", "merged", *BROKEN]
    for one in listed[:3]:
        assert (one.state, one.state_detail) == (ModelState.MODEL_STATE_READY, "")
        assert (await judge(case.stage, one.name)).shape == (len(PAIRS), 3)
