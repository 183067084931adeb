"""Which model a call means, whether it may be called, and what becomes of calls when a process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.config import EmbedModel
from services.inference.embedding import EmbeddingModel, EmbedOptions
from services.inference.errors import InvalidInput, ModelNotFound, ModelNotReady
from services.inference.loading import ModelFacts
from services.inference.registry import Load, ModelState, Registry
from tests.support.engine_parts import FACTS, LIMIT_SECONDS, GatedRunner, gated_model, section, turns
from tests.support.tiny import write_tokenizer


async def nobody_asks() -> None:
    """Take the news of a change, and do nothing."""


def registry_of(*names: str, load: Load | None = None) -> Registry:
    """Return a registry of models by name."""
    return Registry({name: section() for name in names}, load or never, nobody_asks)


async def never(name: str, section: EmbedModel) -> tuple[EmbeddingModel, ModelFacts]:
    """Load for ever."""
    del name, section
    await asyncio.Event().wait()
    raise AssertionError


def test_empty_name_means_the_only_model() -> None:
    """Most services have one model; their callers need not know its name."""
    assert registry_of("minilm").resolve("") == "minilm"
    assert registry_of("minilm").resolve("minilm") == "minilm"


def test_empty_name_among_several_models_is_refused_with_their_names() -> None:
    """Taking the first would change answers when someone reorders the file."""
    with pytest.raises(InvalidInput) as raised:
        registry_of("minilm", "bge").resolve("")

    assert raised.value.violations == (("model", "must name one of: minilm, bge"),)


@pytest.mark.parametrize("name", ["", "minilm"])
def test_service_without_models_knows_no_name(name: str) -> None:
    """Not even the empty one."""
    with pytest.raises(ModelNotFound, match="models here: none"):
        registry_of().resolve(name)


@pytest.mark.parametrize(
    "ask",
    [
        lambda registry: registry.status("other"),
        lambda registry: registry.ready("other"),
        lambda registry: registry.resolve("other"),
        lambda registry: registry.load("other"),
        lambda registry: registry.unload("other"),
    ],
)
async def test_unknown_name_is_answered_with_the_names_that_exist(
    ask: Callable[[Registry], Awaitable[object]],
) -> None:
    """Whatever is asked: a typing error should be plain from the answer."""
    with pytest.raises(ModelNotFound, match=r"^there is no model 'other'; models here: minilm, bge$"):
        await ask(registry_of("minilm", "bge"))


def test_model_that_is_not_loaded_says_that_waiting_does_not_help() -> None:
    """It has to be loaded first, which nobody does by waiting."""
    with pytest.raises(ModelNotReady, match="model minilm is not loaded; load it first") as raised:
        registry_of("minilm").ready("minilm")

    assert raised.value.retry_after_seconds is None


async def test_model_that_is_being_loaded_says_when_to_come_back() -> None:
    """That is the common case right after a start."""
    registry = registry_of("minilm")
    load = asyncio.create_task(registry.load("minilm"))
    await turns()

    with pytest.raises(ModelNotReady, match="model minilm is loading") as raised:
        registry.ready("minilm")

    assert raised.value.retry_after_seconds == 1.0
    await registry.close()
    await asyncio.gather(load, return_exceptions=True)


async def test_closing_stops_a_load_and_keeps_nobody_waiting() -> None:
    """A process that is told to stop while it starts should stop."""
    registry = registry_of("a", "b")
    callers = [asyncio.create_task(registry.load(name)) for name in ("a", "a", "b")]
    await turns()

    async with asyncio.timeout(LIMIT_SECONDS):
        await registry.close()
        results = await asyncio.gather(*callers, return_exceptions=True)

    assert [type(result) for result in results] == [asyncio.CancelledError] * 3
    assert {status.state for status in registry.statuses()} == {ModelState.AVAILABLE}


async def test_closing_finishes_accepted_calls(tmp_path: Path) -> None:
    """A call that was let in gets its answer before the sessions go."""
    write_tokenizer(tmp_path / "tokenizer.json")
    runner = GatedRunner()

    async def load(name: str, section: EmbedModel) -> tuple[EmbeddingModel, ModelFacts]:
        del name, section
        return gated_model(tmp_path / "tokenizer.json", runner), FACTS

    registry = registry_of("a", load=load)
    await registry.load("a")
    model = registry.ready("a")
    call = asyncio.create_task(model.embed(["the cat"], EmbedOptions(normalize=False)))
    await turns()
    close = asyncio.create_task(registry.close())
    await turns()
    assert not close.done()
    runner.gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert (await call).vectors[0].tolist() == [4, 4, 4, 4]
        await close
    with pytest.raises(ModelNotReady):
        await model.embed(["the cat"], EmbedOptions())
