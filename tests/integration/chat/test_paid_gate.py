"""Nothing that costs money or leaves the house is called without leave, whichever way it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from inglenook.chat.v1 import CompleteRequest
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import GetModelRequest

from tests.support.chat_stage import chat_model, chat_stage, embed_model, failure_of, provider, said
from tests.support.ollama_models import ServedModel, says
from tests.support.ollama_server import OllamaServer

GEMMA: Final = ServedModel("gemma3n:e2b", says("Hello"))
CLOUD: Final = ServedModel("gpt-oss:120b-cloud", says("no"), remote_host="somewhere")
ALIAS: Final = ServedModel("mine:latest", says("no"), remote_host="somewhere")
FAR: Final = ServedModel("far:latest", capabilities=("embedding",), remote_host="somewhere")
ANSWERS: Final = frozenset({"/api/chat", "/api/embed"})
BUDGET: Final = '[paid]\nenabled = true\nmonthly_budget_usd = 1.0\nledger = "spending.sqlite3"\n'


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "nobody:Cloud", "library/x:latest-CLOUD"])
async def test_ollama_is_not_asked_about_cloud_models_while_nothing_may_cost(
    name: str, tmp_path: Path
) -> None:
    """It would pass the question on to its cloud; whether it has the model makes no difference."""
    async with OllamaServer(GEMMA, CLOUD) as ollama:
        async with chat_stage(tmp_path, provider("ollama", "ollama", ollama.url)) as stage:
            asked = stage.chat.Complete(CompleteRequest(model=f"ollama/{name}", messages=[said("Hi")]))
            described = stage.models.GetModel(GetModelRequest(model=f"ollama/{name}"))
            for failure in (await failure_of(asked), await failure_of(described)):
                assert failure.reason == "PAID_DISABLED"
                assert name not in failure.message
        assert ollama.requests == []


async def test_model_that_runs_elsewhere_under_a_name_of_this_house_hears_nothing(tmp_path: Path) -> None:
    """The Ollama says where it runs; so nothing is said to it, to answer or to embed."""
    async with OllamaServer(GEMMA, ALIAS, FAR) as ollama:
        file = (
            chat_model("named", ["ollama/mine"])
            + embed_model("vec", ["ollama/far"])
            + provider("ollama", "ollama", ollama.url)
        )
        async with chat_stage(tmp_path, file) as stage:
            for name in ("named", "ollama/mine", "ollama/mine:latest"):
                request = CompleteRequest(model=name, messages=[said("Hi")])
                assert (await failure_of(stage.chat.Complete(request))).reason == "PAID_DISABLED"
            failure = await failure_of(stage.embed.Embed(EmbedRequest(model="vec", inputs=["Hi"])))
            assert failure.reason == "PAID_DISABLED"
        assert not [request for request in ollama.requests if request.path in ANSWERS]


async def test_model_that_runs_elsewhere_is_not_embedded_with_for_free(tmp_path: Path) -> None:
    """Where there is a budget it needs a price, like any paid target."""
    async with OllamaServer(FAR) as ollama:
        file = embed_model("vec", ["ollama/far"]) + provider("ollama", "ollama", ollama.url) + BUDGET
        async with chat_stage(tmp_path, file) as stage:
            failure = await failure_of(stage.embed.Embed(EmbedRequest(model="vec", inputs=["Hi"])))
        assert failure.reason == "BUDGET_EXHAUSTED"
        assert "price is not known" in failure.message
        assert not ollama.seen("/api/embed")
