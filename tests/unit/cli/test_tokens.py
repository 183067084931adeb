"""`inglenook tokens`: how long texts are, and which model is asked."""

from __future__ import annotations

import pytest
from inglenook.common.v1 import Capability, ModelInfo
from inglenook.model.v1 import (
    CountTokensRequest,
    CountTokensResponse,
    ListModelsRequest,
    ListModelsResponse,
)

from services.chassis.errors import InvalidRequest
from tests.unit.cli.canned import SERVED_BY, CannedRouter

CHAT = ModelInfo(name="assistant", capability=Capability.CAPABILITY_CHAT)
EMBED = ModelInfo(name="small", capability=Capability.CAPABILITY_EMBED)
NLI = ModelInfo(name="judge", capability=Capability.CAPABILITY_NLI)


@pytest.fixture(autouse=True)
def _answers(router: CannedRouter) -> None:
    def count(request: CountTokensRequest) -> CountTokensResponse:
        counts = [len(text.split()) for text in request.inputs]
        return CountTokensResponse(token_counts=counts, max_input_tokens=3, model=request.model)

    router.on(CountTokensRequest, count)


def has(router: CannedRouter, *models: ModelInfo) -> None:
    """Let the router have these models."""
    router.on(ListModelsRequest, lambda _: ListModelsResponse(models=models))


def test_texts_that_are_too_long_are_marked(router: CannedRouter) -> None:
    """A person sees which texts would be refused, even where no color is shown."""
    done = router.run("tokens", "one two", "one two three four", "--model", "small")
    assert done.exit_code == 0, done.stderr
    head, fits, too_long, _, last = done.stdout.splitlines()
    assert head.split() == ["TOKENS", "OF", "MAX", "FITS", "TEXT"]
    assert fits.split() == ["2", "3", "yes", "one", "two"]
    assert too_long.split() == ["4", "3", "too", "long", "one", "two", "three", "four"]
    assert last.startswith(f"small, 6 tokens, answered by {SERVED_BY} in ")


def test_the_only_model_with_a_tokenizer_needs_no_name(router: CannedRouter) -> None:
    """The contract wants a name here; the tool finds it out, and leaves models of providers aside."""
    remote = ModelInfo(name="there", capability=Capability.CAPABILITY_EMBED, targets=["ollama/x"])
    has(router, CHAT, EMBED, remote)
    document = router.document("tokens", given="one\none two\n")
    assert document == {"tokenCounts": [1, 2], "maxInputTokens": 3, "model": "small", "servedBy": SERVED_BY}


def test_several_models_are_listed_and_none_is_guessed(router: CannedRouter) -> None:
    """Models count differently, so the caller has to say which one is meant."""
    has(router, EMBED, CHAT, NLI)
    assert router.run("tokens", "one").stderr.strip() == "error --model must be one of small, judge"
    error = router.error("tokens", "one", exit_code=2)
    assert error == {"message": "--model must be one of small, judge", "models": ["small", "judge"]}


def test_a_cluster_without_tokenizers_is_told(router: CannedRouter) -> None:
    """Models of providers cannot be asked, and the message says which can."""
    has(router, CHAT)
    assert "embed, rerank or nli" in router.error("tokens", "one")["message"]


def test_a_text_that_cannot_be_counted_is_told_with_its_path(router: CannedRouter) -> None:
    """Reason, field and exit code are those of every other command."""

    def refuse(request: CountTokensRequest) -> CountTokensResponse:
        raise InvalidRequest([("inputs[1]", "must not be empty")])

    router.on(CountTokensRequest, refuse)
    error = router.error("tokens", "one", " ", "--model", "small")
    assert error["reason"] == "INVALID_REQUEST"
    assert error["fields"] == [{"field": "inputs[1]", "problem": "must not be empty"}]
