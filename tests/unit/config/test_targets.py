"""What holds for models that providers run, and for the targets that they name."""

from __future__ import annotations

import pytest

from services.config import ChatModel, EmbedModel, RemoteEmbedModel, split_target
from tests.unit.config.conftest import Accepted, Refused

CHAT = '[models.m]\ncapability = "chat"\n'
EMBED = '[models.m]\ncapability = "embed"\n'
FACTS = "[targets.'ollama/x']\n"
BAD_TARGET = "must be <provider>/<model at that provider>, for example ollama/gemma3n:e2b"


def test_chat_model_is_its_targets(accepted: Accepted) -> None:
    """Who answers is all that has to be said; the rest is left to the providers."""
    model = accepted(f'{CHAT}targets = ["ollama/gemma3n:e2b"]').models["m"]
    assert isinstance(model, ChatModel)
    assert model.targets == ("ollama/gemma3n:e2b",)
    assert (model.weights, model.max_output_tokens, model.context_length, model.reasoning) == (
        {},
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("ollama/gemma3n:e2b", ("ollama", "gemma3n:e2b")),
        ("my-vllm.2/org/name@main", ("my-vllm.2", "org/name@main")),
        ("cf/@cf/meta/x", ("cf", "@cf/meta/x")),
    ],
)
def test_target_is_a_provider_and_whatever_that_calls_its_model(
    accepted: Accepted, target: str, parts: tuple[str, str]
) -> None:
    """Models have slashes, colons and at signs in their names; the first slash is ours."""
    provider = f'[providers."{parts[0]}"]\ntype = "ollama"\n'
    model = accepted(f'{provider}{CHAT}targets = ["{target}"]').models["m"]
    assert isinstance(model, ChatModel)
    assert model.targets == (target,)
    assert split_target(target) == parts


@pytest.mark.parametrize(
    "target", ["", "ollama", "ollama/", "/x", "ollama//x", "two words/x", "ollama/two words", "-p/x", "o/\\n"]
)
def test_what_is_not_a_target_is_refused_wherever_it_stands(refused: Refused, target: str) -> None:
    """The same rule holds for a model and for what is known of a target, and says how one is written."""
    assert refused(f'{CHAT}targets = ["{target}"]') == [f"models.m.targets.0: {BAD_TARGET}"]
    (problem,) = refused(f'[targets."{target}"]\ntools = true')
    assert problem.startswith("targets.")
    assert problem.endswith(f": {BAD_TARGET}")


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ("[]", "models.m.targets: must name at least one target"),
        ('["ollama/x", "ollama/y", "ollama/x"]', "models.m.targets: names a target twice"),
        ('"ollama/x"', "models.m.targets: must be a list"),
        ("[5]", "models.m.targets.0: must be a string"),
    ],
)
@pytest.mark.parametrize("table", [CHAT, EMBED])
def test_targets_are_a_list_of_different_ones(
    refused: Refused, table: str, targets: str, problem: str
) -> None:
    """A second attempt at the same target is what `chat.max_retries` is for."""
    assert refused(f"{table}targets = {targets}") == [problem]


def test_target_at_an_unknown_provider_is_told_with_what_was_meant(refused: Refused) -> None:
    """In a model as in what is known of a target; the last hint can be copied into the file."""
    text = f'{CHAT}targets = ["ollama/x", "olama/x"]\n[targets."gpu/x"]\ntools = true\n'
    assert refused(text) == [
        "models.m.targets.1: there is no provider olama (did you mean ollama?)",
        'targets."gpu/x": there is no provider gpu (add a table [providers.gpu])',
    ]


def test_weights_are_those_of_targets(accepted: Accepted, refused: Refused) -> None:
    """A weight of what is no target would never be drawn by."""
    text = f'{CHAT}targets = ["ollama/x", "ollama/y"]\n'
    model = accepted(f'{text}weights = {{ "ollama/x" = 2, "ollama/y" = 1.5 }}').models["m"]
    assert isinstance(model, ChatModel)
    assert model.weights == {"ollama/x": 2.0, "ollama/y": 1.5}
    assert refused(f'{text}weights = {{ "ollama/z" = 1 }}') == [
        "models.m.weights: weighs ollama/z, which is not among the targets"
        " (name it under targets, or remove the weight)"
    ]
    (problem,) = refused(f'{text}weights = {{ "ollama/x" = 0 }}')
    assert problem == 'models.m.weights."ollama/x": must be greater than 0'


def test_weights_are_not_held_against_targets_that_are_wrong_themselves(refused: Refused) -> None:
    """One mistake is told once."""
    assert refused(f'{CHAT}targets = []\nweights = {{ "ollama/x" = 1 }}') == [
        "models.m.targets: must name at least one target"
    ]


def test_chat_model_has_no_source(refused: Refused) -> None:
    """It runs at its providers."""
    problems = refused(f'{CHAT}source = "dir:m"')
    assert problems[0].startswith("models.m.source: is not a setting")
    assert problems[1].startswith("models.m.targets: is missing")


def test_embedding_model_runs_here_or_at_providers(accepted: Accepted, refused: Refused) -> None:
    """Its source or its targets say which; one of the two is needed, and both are one too many."""
    here = accepted(f'{EMBED}source = "dir:m"').models["m"]
    there = accepted(f'{EMBED}targets = ["ollama/x"]\ndimensions = 384').models["m"]
    assert isinstance(here, EmbedModel)
    assert isinstance(there, RemoteEmbedModel)
    assert there.dimensions == 384
    assert refused(EMBED) == [
        "models.m.source: is missing (add it; docs/configuration.md lists every setting)"
    ]
    assert refused(f'{EMBED}source = "dir:m"\ntargets = ["ollama/x"]') == [
        "models.m.targets: is not a setting"
        " (the model runs here, from source, or at providers, as targets: remove one)"
    ]
    assert refused(f'{EMBED}targets = ["ollama/x"]\npooling = "mean"')[0].startswith(
        "models.m.pooling: is not a setting (known here: capability, dimensions, "
    )


def test_only_embedding_and_chat_models_have_targets(refused: Refused) -> None:
    """No provider is asked to rerank or to judge."""
    (problem,) = refused('[models.m]\ncapability = "rerank"\nsource = "dir:m"\ntargets = ["ollama/x"]')
    assert problem.startswith("models.m.targets: is not a setting")


def test_facts_of_a_target_are_unknown_until_somebody_says_them(accepted: Accepted) -> None:
    """None is not false: what nobody knows is tried."""
    facts = accepted(f"{FACTS}tools = false").targets["ollama/x"]
    assert (facts.tools, facts.images, facts.context_length, facts.input_usd) == (False, None, None, None)


@pytest.mark.parametrize("price", ["input_usd = 1", "output_usd = 1"])
def test_half_a_price_is_refused(accepted: Accepted, refused: Refused, price: str) -> None:
    """The other half would be guessed."""
    assert accepted(f"{FACTS}input_usd = 0\noutput_usd = 0.5").targets["ollama/x"].output_usd == 0.5
    assert refused(FACTS + price) == [
        'targets."ollama/x".output_usd: must be set if input_usd is, and only then: a price is both'
        " (set both, or remove both)"
    ]


@pytest.mark.parametrize("name", ["cached_input_usd", "cache_write_usd"])
def test_price_of_cached_tokens_comes_with_that_of_the_others(
    accepted: Accepted, refused: Refused, name: str
) -> None:
    """Alone it would be mixed with a price from another list."""
    accepted(f"{FACTS}input_usd = 1\noutput_usd = 2\n{name} = 0.1")
    (problem,) = refused(f"{FACTS}{name} = 0.1")
    assert problem.startswith(
        f'targets."ollama/x".{name}: is set without input_usd (set input_usd and output'
    )


@pytest.mark.parametrize("value", ["-1", "inf", "nan"])
def test_price_is_an_amount(refused: Refused, value: str) -> None:
    """What is wrong itself is told alone."""
    (problem,) = refused(f"{FACTS}input_usd = {value}\noutput_usd = 1")
    assert problem.startswith('targets."ollama/x".input_usd: must be ')
