"""Which model a call means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.inference.errors import InvalidInput, ModelNotFound, WrongCapability
from services.inference.lifecycle import Registry
from tests.support.lifecycle import House, StubModel


async def enter(registry: Registry[StubModel], name: str) -> None:
    """Use a model for nothing."""
    async with registry.use(name):
        pass


ASK: list[Callable[[Registry[StubModel], str], Any]] = [
    lambda registry, name: registry.status(name),
    lambda registry, name: registry.resolve(name),
    enter,
    lambda registry, name: registry.load(name),
    lambda registry, name: registry.unload(name),
]


def test_empty_name_means_the_only_model() -> None:
    """Most services have one model; their callers need not know its name."""
    registry = House("minilm").registry
    assert registry.resolve("") == "minilm"
    assert registry.resolve("minilm") == "minilm"


def test_empty_name_among_several_models_is_refused_with_their_names() -> None:
    """Taking the first would change answers when someone reorders the file."""
    with pytest.raises(InvalidInput) as raised:
        House("minilm", "bge").registry.resolve("")

    assert raised.value.violations == (("model", "must name one of: minilm, bge"),)


@pytest.mark.parametrize("name", ["", "other"])
def test_service_without_models_knows_no_name(name: str) -> None:
    """Not even the empty one."""
    with pytest.raises(ModelNotFound, match="models here: none"):
        House(elsewhere={"ranker": "rerank"}).registry.resolve(name)


def test_service_without_models_still_knows_what_models_of_others_are_for() -> None:
    """Whoever asks it by mistake is told what is wrong."""
    with pytest.raises(WrongCapability, match="model ranker is for rerank, not for embed"):
        House(elsewhere={"ranker": "rerank"}).registry.resolve("ranker")


@pytest.mark.parametrize("ask", ASK)
async def test_unknown_name_is_answered_with_the_names_that_exist(
    ask: Callable[[Registry[StubModel], str], Awaitable[object]],
) -> None:
    """Whatever is asked: a typing error should be plain from the answer."""
    with pytest.raises(ModelNotFound, match=r"^there is no model 'other'; models here: minilm, bge$"):
        await ask(House("minilm", "bge").registry, "other")


@pytest.mark.parametrize("ask", ASK)
async def test_model_of_another_service_is_answered_with_what_it_is_for(
    ask: Callable[[Registry[StubModel], str], Awaitable[object]],
) -> None:
    """The name is right and the service is wrong: another spelling would not help."""
    house = House("minilm", elsewhere={"ms-marco": "rerank"})
    with pytest.raises(WrongCapability, match=r"^model ms-marco is for rerank, not for embed$"):
        await ask(house.registry, "ms-marco")


@pytest.mark.parametrize("ask", ASK)
async def test_model_that_providers_run_is_answered_with_who_answers_for_it(
    ask: Callable[[Registry[StubModel], str], Awaitable[object]],
) -> None:
    """It is for the same, so that its capability would explain nothing."""
    house = House("minilm", elsewhere={"there": "embed"})
    with pytest.raises(ModelNotFound, match=r"^model there is run by providers: the chat service answers"):
        await ask(house.registry, "there")


async def test_empty_name_can_be_used_where_there_is_one_model() -> None:
    """A lease takes the name as it comes."""
    house = House("minilm")
    await house.registry.load("minilm")
    assert await house.ask("") == await house.ask("minilm")
    await house.close()
