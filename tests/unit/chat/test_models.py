"""Which model a name means, and that nobody can make more of them than there are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from services.chassis.errors import InvalidRequest
from services.chat.answering.breaker import Breaker
from services.chat.answering.target import Target
from services.chat.errors import PaidDisabled, UpstreamUnavailable
from services.chat.models import Models, OtherCapability, UnknownModel
from services.chat.providers.disabled import DisabledProvider
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.provider import OllamaProvider
from services.chat.providers.provider import Provider
from services.config import Chat, Configuration
from services.config import OllamaProvider as OllamaSection

KNOWN = {"gemma3n:e2b": Facts(chat=True), "llava:latest": Facts(), "nomic:latest": Facts(chat=False)}
MODELS: Mapping[str, Any] = {
    "one": {"capability": "chat", "targets": ["ollama/gemma3n:e2b"]},
    "vec": {"capability": "embed", "targets": ["ollama/nomic"]},
    "two": {"capability": "chat", "targets": ["ollama/gemma3n:e2b", "ollama/llava"]},
}


class Knowing(OllamaProvider):
    """An Ollama that has some models, however they are spelled, and is asked for them without a network.

    Attributes:
        asked: For which it was.
        hangs: It does not answer.
    """

    def __init__(self) -> None:
        self.name = "ollama"
        self.section = OllamaSection(type="ollama")
        self.asked: list[str] = []
        self.hangs = False

    async def facts(self, upstream_model: str) -> Facts:
        """Say what it knows."""
        self.asked.append(upstream_model)
        if self.hangs:
            await asyncio.sleep(3600)
        facts = KNOWN.get(self.canonical(upstream_model))
        if facts is None:
            raise Failure(FailureKind.MODEL_MISSING, "it is not there")
        return facts


class Stage:
    """Models over an Ollama.

    Attributes:
        ollama: The Ollama.
        models: The models.
        made: Names of the targets that were made.
    """

    def __init__(self, models: Mapping[str, Any] = MODELS, ollama: Provider | None = None) -> None:
        self.ollama = ollama or Knowing()
        self.made: list[str] = []
        sections = {"models": models, "providers": {"ollama": {"type": "ollama"}}, "routes": {}}
        configuration = Configuration.model_validate(sections)
        self.models = Models(configuration, {"ollama": self.ollama}, self._target)

    def _target(self, provider: Provider, upstream_model: str) -> Target:
        self.made.append(f"{provider.name}/{upstream_model}")
        return Target(provider, upstream_model, Breaker(Chat(), lambda: 0.0))


async def test_models_of_the_file_are_found_by_their_names() -> None:
    """In its order, without asking anybody. Models that name the same target share it."""
    stage = Stage()
    one, two = await stage.models.chat_model("one"), await stage.models.chat_model("two")
    assert [served.name for served in stage.models.in_order] == ["one", "vec", "two"]
    assert (one.name, one.discovered, one.section.capability) == ("one", False, "chat")
    assert one.targets[0] is two.targets[0]
    assert stage.models.embed_model("vec").section.capability == "embed"
    assert stage.made == ["ollama/gemma3n:e2b", "ollama/nomic", "ollama/llava"]
    assert isinstance(stage.ollama, Knowing)
    assert stage.ollama.asked == []


async def test_name_may_be_left_out_where_there_is_one_model() -> None:
    """Of the capability that is asked for."""
    stage = Stage()
    assert stage.models.embed_model("").name == "vec"
    with pytest.raises(InvalidRequest) as several:
        await stage.models.chat_model("")
    assert several.value.violations[0][0] == "model"
    alone = Stage({"one": MODELS["one"]})
    assert (await alone.models.chat_model("")).name == "one"
    with pytest.raises(InvalidRequest):
        alone.models.embed_model("")


async def test_model_that_does_something_else_is_not_the_one_that_is_meant() -> None:
    """The file says so, or the provider does."""
    stage = Stage()
    for name in ("vec", "ollama/nomic"):
        with pytest.raises(OtherCapability):
            await stage.models.chat_model(name)
    with pytest.raises(OtherCapability):
        stage.models.embed_model("one")
    with pytest.raises(UnknownModel):
        stage.models.embed_model("ollama/nomic")


async def test_however_a_model_is_spelled_it_has_one_target() -> None:
    """So callers cannot make more targets than there are models, nor ask one that is ejected as another."""
    stage = Stage({})
    spellings = ["llava", "LLaVA", "llava:latest", "lLaVa:LATEST"]
    found = [await stage.models.chat_model(f"ollama/{spelling}") for spelling in spellings]
    assert [served.name for served in found] == [f"ollama/{spelling}" for spelling in spellings]
    assert len({id(served.targets[0]) for served in found}) == len(stage.made) == 1
    assert all(served.discovered for served in found)


async def test_target_of_the_file_is_meant_however_a_caller_spells_it() -> None:
    """What is said of it in the file holds for it then as well."""
    stage = Stage()
    found = await stage.models.chat_model("ollama/Gemma3N:e2b")
    assert found.targets[0] is stage.models.chat["one"].targets[0]
    assert len(stage.made) == 3
    assert {target.name for target in stage.models.targets} == set(stage.made)


@pytest.mark.parametrize(
    "name", ["x", "ollama", "ollama/", "/x", "ollama//x", "ollama/a b", "ollama/a\n", "ollama/" + "x" * 256]
)
async def test_name_that_cannot_be_one_is_unknown_without_asking(name: str) -> None:
    """The names that exist are told, and what the caller wrote is not."""
    stage = Stage()
    with pytest.raises(UnknownModel) as caught:
        await stage.models.chat_model(name)
    assert caught.value.metadata == {"models": "one,two"}
    assert str(caught.value) == "there is no such model; models here: one, two"
    assert isinstance(stage.ollama, Knowing)
    assert stage.ollama.asked == []


async def test_model_that_its_provider_does_not_have_leaves_nothing_behind() -> None:
    """However often it is asked for."""
    stage = Stage({})
    for number in range(100):
        with pytest.raises(UnknownModel):
            await stage.models.chat_model(f"ollama/nothing-{number}")
    assert (stage.made, list(stage.models.targets)) == ([], [])


async def test_provider_that_may_not_be_called_has_no_models_of_its_own() -> None:
    """It cannot be asked for them, so every name would be as good as any other."""
    section = OllamaSection(type="ollama", tier="standard")
    stage = Stage({}, DisabledProvider("ollama", section))
    with pytest.raises(PaidDisabled) as caught:
        await stage.models.chat_model("ollama/what-i-wrote")
    assert "what-i-wrote" not in str(caught.value)
    assert stage.made == []


async def test_provider_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it has the model is not known then; it is not said to be missing."""
    monkeypatch.setattr("services.chat.models.ASK_SECONDS", 0.01)
    stage = Stage()
    assert isinstance(stage.ollama, Knowing)
    stage.ollama.hangs = True
    with pytest.raises(UpstreamUnavailable):
        await stage.models.chat_model("ollama/llava")


async def test_cloud_model_is_not_even_asked_about_while_nothing_may_cost() -> None:
    """An Ollama passes the question on to its cloud."""
    stage = Stage()
    for name in ("ollama/gpt-oss:120b-cloud", "ollama/Kimi:CLOUD"):
        with pytest.raises(PaidDisabled) as caught:
            await stage.models.chat_model(name)
        assert name.partition("/")[2] not in str(caught.value)
    assert isinstance(stage.ollama, Knowing)
    assert stage.ollama.asked == []
