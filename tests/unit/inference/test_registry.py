from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.config import EmbedModel
from services.inference.embedding import EmbeddingModel, EmbedOptions
from services.inference.errors import (
    ArtifactProblem,
    ModelFailed,
    ModelNotReady,
)
from services.inference.loading import ModelFacts
from services.inference.registry import ModelState, Registry
from tests.support.engine_parts import FACTS, LIMIT_SECONDS, GatedRunner, gated_model, section, turns
from tests.support.tiny import write_tokenizer


class Loads:
    """Loads models when its gates are opened. Satisfies `registry.Load`.

    Attributes:
        started: The models whose load began, in order.
        gates: By name: a load waits for its gate; without one it does not wait.
        problems: By name: what the next load fails with.
        runner: What the models run on.
    """

    def __init__(self, tokenizer_file: Path) -> None:
        self._tokenizer_file = tokenizer_file
        self.started: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.problems: dict[str, Exception] = {}
        self.runner = GatedRunner(is_open=True)

    async def __call__(self, name: str, section: EmbedModel) -> tuple[EmbeddingModel, ModelFacts]:
        """Load a model."""
        del section
        self.started.append(name)
        if name in self.gates:
            await self.gates[name].wait()
        if name in self.problems:
            raise self.problems.pop(name)
        return gated_model(self._tokenizer_file, self.runner), FACTS


Make = Callable[..., Registry]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """What the registry of a test loads models with."""
    write_tokenizer(tmp_path / "tokenizer.json")
    return Loads(tmp_path / "tokenizer.json")


@pytest.fixture
def changes() -> list[str]:
    """States that the models went through, one line per change."""
    return []


@pytest.fixture
def make(loads: Loads, changes: list[str]) -> Make:
    """Returns a registry of models by name, which records its changes."""

    def registry(*names: str) -> Registry:
        async def changed() -> None:
            changes.append(" ".join(status.state for status in made.statuses()))

        made = Registry({name: section() for name in names}, loads, changed)
        return made

    return registry


async def test_model_goes_from_available_over_loading_to_ready(make: Make, changes: list[str]) -> None:
    """Each state is told, because health depends on it."""
    registry = make("a")
    assert registry.status("a").state is ModelState.AVAILABLE
    status = await registry.load("a")

    assert (status.state, status.facts, status.problem) == (ModelState.READY, FACTS, "")
    assert registry.ready("a") is registry.loaded()["a"]
    assert changes == ["loading", "ready"]
    await registry.close()


async def test_callers_share_one_load(make: Make, loads: Loads) -> None:
    """Ten replicas of a client that all ask for a model must not load it ten times."""
    registry = make("a")
    loads.gates["a"] = asyncio.Event()
    callers = [asyncio.create_task(registry.load("a")) for _ in range(10)]
    await turns()
    loads.gates["a"].set()

    async with asyncio.timeout(LIMIT_SECONDS):
        statuses = await asyncio.gather(*callers)

    assert {status.state for status in statuses} == {ModelState.READY}
    assert loads.started == ["a"]
    await registry.close()


async def test_loaded_model_is_not_loaded_again(make: Make, loads: Loads) -> None:
    """Loading what is loaded is no error, and no work."""
    registry = make("a")
    await registry.load("a")
    model = registry.ready("a")

    assert (await registry.load("a")).state is ModelState.READY
    assert registry.ready("a") is model
    assert loads.started == ["a"]
    await registry.close()


async def test_caller_that_leaves_does_not_stop_the_load(make: Make, loads: Loads) -> None:
    """Others wait for the same load, and a load that begins anew every few seconds never ends."""
    registry = make("a")
    loads.gates["a"] = asyncio.Event()
    leaver, stayer = (asyncio.create_task(registry.load("a")) for _ in range(2))
    await turns()

    leaver.cancel()
    await turns()
    loads.gates["a"].set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert (await stayer).state is ModelState.READY
    assert leaver.cancelled()
    assert loads.started == ["a"]
    await registry.close()


async def test_failed_load_tells_the_problem_and_can_be_retried(
    make: Make, loads: Loads, changes: list[str]
) -> None:
    """An operator repairs the file and loads again, without a restart."""
    registry = make("a")
    loads.problems["a"] = ArtifactProblem("model.safetensors is not a whole safetensors file")

    failed = await registry.load("a")
    with pytest.raises(ModelFailed, match=r"model a could not be loaded: model.safetensors is not a whole"):
        registry.ready("a")
    repaired = await registry.load("a")

    assert failed.state is ModelState.FAILED
    assert failed.problem == "model.safetensors is not a whole safetensors file"
    assert (repaired.state, repaired.problem) == (ModelState.READY, "")
    assert changes == ["loading", "failed", "loading", "ready"]
    await registry.close()


async def test_bug_while_loading_fails_the_model_without_its_message(make: Make, loads: Loads) -> None:
    """The problem is shown to callers; what an unknown exception says is for the log only."""
    registry = make("a")
    loads.problems["a"] = RuntimeError("/home/someone/secret")

    status = await registry.load("a")

    assert status.state is ModelState.FAILED
    assert status.problem == "internal error: RuntimeError"


async def test_models_are_loaded_one_at_a_time_while_others_answer(make: Make, loads: Loads) -> None:
    """Memory can only be measured that way; and a load takes nothing from models that are ready."""
    registry = make("ready", "a", "b")
    await registry.load("ready")
    loads.gates = {"a": asyncio.Event(), "b": asyncio.Event()}
    both = [asyncio.create_task(registry.load(name)) for name in "ab"]
    await turns()
    assert loads.started == ["ready", "a"]

    embeddings = await registry.ready("ready").embed(["the cat"], EmbedOptions(normalize=False))
    assert embeddings.vectors[0].tolist() == [4, 4, 4, 4]

    for gate in loads.gates.values():
        gate.set()
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*both)
    assert loads.started == ["ready", "a", "b"]
    await registry.close()


async def test_start_loads_what_the_configuration_wants(loads: Loads) -> None:
    """In its order; one that fails does not keep the others from loading."""

    async def changed() -> None: ...

    sections = {"a": section(), "later": section(preload=False), "b": section(), "c": section()}
    registry = Registry(sections, loads, changed)
    loads.problems["b"] = ArtifactProblem("damaged")

    await registry.load_all()

    assert loads.started == ["a", "b", "c"]
    assert [status.state for status in registry.statuses()] == ["ready", "available", "failed", "ready"]
    assert registry.names == ["a", "later", "b", "c"]
    await registry.close()


async def test_unload_waits_for_accepted_calls(make: Make, loads: Loads, changes: list[str]) -> None:
    """A call that was let in gets its answer; new ones are refused meanwhile."""
    registry = make("a")
    loads.runner = GatedRunner()
    await registry.load("a")
    call = asyncio.create_task(registry.ready("a").embed(["the cat"], EmbedOptions(normalize=False)))
    await turns()

    unload = asyncio.create_task(registry.unload("a"))
    await turns()
    assert not unload.done()
    assert registry.status("a").state is ModelState.UNLOADING
    with pytest.raises(ModelNotReady) as raised:
        registry.ready("a")
    assert raised.value.retry_after_seconds is None
    loads.runner.gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert (await call).vectors[0].tolist() == [4, 4, 4, 4]
        status = await unload
    assert (status.state, status.facts) == (ModelState.AVAILABLE, FACTS)
    assert registry.loaded() == {}
    assert changes == ["loading", "ready", "unloading", "available"]


async def test_caller_that_leaves_does_not_stop_the_unload(
    make: Make, loads: Loads, changes: list[str]
) -> None:
    """Half an unloaded model would hold its memory and answer nobody."""
    registry = make("a")
    loads.runner = GatedRunner()
    await registry.load("a")
    call = asyncio.create_task(registry.ready("a").embed(["the cat"], EmbedOptions()))
    await turns()
    unload = asyncio.create_task(registry.unload("a"))
    await turns()

    unload.cancel()
    await turns()
    loads.runner.gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        await call
        await registry.load("a")  # after the unload, which went on
    assert changes == ["loading", "ready", "unloading", "available", "loading", "ready"]
    await registry.close()


async def test_load_during_an_unload_comes_after_it(make: Make, loads: Loads, changes: list[str]) -> None:
    """Who asks last decides; never are two copies of a model in memory."""
    registry = make("a")
    loads.runner = GatedRunner()
    await registry.load("a")
    call = asyncio.create_task(registry.ready("a").embed(["the cat"], EmbedOptions()))
    await turns()
    unload = asyncio.create_task(registry.unload("a"))
    await turns()
    load = asyncio.create_task(registry.load("a"))
    await turns()
    assert loads.started == ["a"]
    loads.runner.gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(call, unload, load)

    assert changes[-4:] == ["unloading", "available", "loading", "ready"]
    assert registry.status("a").state is ModelState.READY
    await registry.close()


async def test_model_that_is_being_loaded_cannot_be_unloaded(make: Make, loads: Loads) -> None:
    """The caller is told when to come back."""
    registry = make("a")
    loads.gates["a"] = asyncio.Event()
    load = asyncio.create_task(registry.load("a"))
    await turns()

    with pytest.raises(ModelNotReady, match="model a is loading") as raised:
        await registry.unload("a")

    assert raised.value.retry_after_seconds == 1.0
    loads.gates["a"].set()
    await load
    await registry.close()


async def test_unloading_what_is_not_loaded_is_no_error(make: Make, loads: Loads) -> None:
    """Also after a failed load, whose problem is forgotten then."""
    registry = make("a")
    assert (await registry.unload("a")).state is ModelState.AVAILABLE
    loads.problems["a"] = ArtifactProblem("damaged")
    await registry.load("a")

    status = await registry.unload("a")

    assert (status.state, status.problem) == (ModelState.AVAILABLE, "")
