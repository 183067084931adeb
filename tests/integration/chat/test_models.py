"""What callers are told of the models that providers run, over real gRPC."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
from inglenook.common.v1 import Capability, ModelState, TargetState
from inglenook.model.v1 import (
    CountTokensRequest,
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)

from services.chassis.listing import BRIEF
from tests.support.anthropic_server import Reply as AnyReply
from tests.support.anthropic_server import anthropic_server
from tests.support.chat_stage import (
    CLOSED,
    KEY,
    KEY_VARIABLE,
    chat_model,
    chat_stage,
    embed_model,
    failure_of,
    provider,
    silent_server,
)
from tests.support.lag import measured_lag
from tests.support.listed_models import GEMMA, LLAVA, NOMIC, listed, refused
from tests.support.ollama_models import ServedModel, says
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import Reply, openai_server

CLOUD: Final = ServedModel("gpt-oss:120b-cloud", says("no"), remote_host="somewhere")
LOCAL: Final = 'tier = "local"'
READY: Final = ModelState.MODEL_STATE_READY
FAILED: Final = ModelState.MODEL_STATE_FAILED
HEALTHY: Final = TargetState.TARGET_STATE_HEALTHY
UNREACHABLE: Final = TargetState.TARGET_STATE_UNREACHABLE


async def test_list_has_the_models_of_the_file_in_its_order_then_what_the_ollama_has_besides(
    tmp_path: Path,
) -> None:
    """Embedding models between chat models stay where they are; those of the Ollama are no chat models."""
    async with OllamaServer(GEMMA, LLAVA, NOMIC) as ollama:
        file = (
            chat_model("zed", ["ollama/gemma3n:e2b"])
            + embed_model("mid", ["ollama/nomic-embed-text"], "dimensions = 4")
            + chat_model("abe", ["ollama/missing:1b"])
            + provider("ollama", "ollama", ollama.url)
        )
        async with chat_stage(tmp_path, file) as stage:
            models = await listed(stage)
            chat = await listed(stage, Capability.CAPABILITY_CHAT)
            embed = await listed(stage, Capability.CAPABILITY_EMBED)
            rerank = await listed(stage, Capability.CAPABILITY_RERANK)
    assert list(models) == ["zed", "mid", "abe", "ollama/llava:latest"]
    assert (list(chat), list(embed)) == (["zed", "abe", "ollama/llava:latest"], ["mid"])
    assert rerank == {}
    assert (models["mid"].capability, models["mid"].dimensions) == (Capability.CAPABILITY_EMBED, 4)
    assert not models["zed"].HasField("dimensions")


async def test_list_says_what_a_target_can_do_and_how_much_it_reads(tmp_path: Path) -> None:
    """As the Ollama says it; what the configuration says of a target goes before that."""
    async with OllamaServer(GEMMA, LLAVA) as ollama:
        more = '[targets."ollama/llava:latest"]\ncontext_length = 1000\nreasoning = true\n'
        file = chat_model("eye", ["ollama/llava:latest"]) + provider("ollama", "ollama", ollama.url, more)
        async with chat_stage(tmp_path, file) as stage:
            models = await listed(stage)
    eye, gemma = models["eye"], models["ollama/gemma3n:e2b"]
    assert (eye.state, eye.max_input_tokens, list(eye.targets)) == (READY, 1000, ["ollama/llava:latest"])
    [info] = eye.target_infos
    assert (info.state, info.state_detail, info.paid) == (HEALTHY, "", False)
    assert (info.images, info.tools, info.reasoning, info.json_schema) == (True, False, True, True)
    assert (gemma.max_input_tokens, gemma.target_infos[0].tools) == (32768, True)


async def test_list_says_of_each_target_what_keeps_it_from_being_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with a target that can be called is ready; one without has failed, and is listed."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    targets = ["ollama/gone:1b", "down/m", "paid/gpt", "ollama/gpt-oss:120b-cloud", "ollama/gemma3n:e2b"]
    async with OllamaServer(GEMMA, CLOUD) as ollama:
        file = (
            chat_model("all", targets)
            + chat_model("none", targets[:3])
            + provider("ollama", "ollama", ollama.url)
            + provider("down", "openai-compatible", CLOSED, LOCAL)
            + provider("paid", "openai", CLOSED, f'api_key = "env:{KEY_VARIABLE}"')
        )
        async with chat_stage(tmp_path, file) as stage:
            models = await listed(stage)
    infos = models["all"].target_infos
    assert [info.state for info in infos] == [
        UNREACHABLE,
        UNREACHABLE,
        TargetState.TARGET_STATE_DISABLED,
        TargetState.TARGET_STATE_DISABLED,
        HEALTHY,
    ]
    assert "ollama pull gone:1b" in infos[0].state_detail
    assert all(info.state_detail for info in infos[:4])
    assert [info.paid for info in infos] == [False, False, True, True, False]
    assert (models["all"].state, models["none"].state) == (READY, FAILED)
    assert (models["all"].max_input_tokens, models["none"].max_input_tokens) == (32768, 0)
    assert models["none"].state_detail


async def test_list_says_which_targets_are_ejected_and_which_are_left_alone(tmp_path: Path) -> None:
    """They can be called all the same, so their models are ready."""
    async with openai_server() as broken, openai_server() as busy:
        file = (
            chat_model("broken", ["broken/m"])
            + chat_model("busy", ["busy/m"])
            + provider("broken", "openai-compatible", broken.url, LOCAL)
            + provider("busy", "openai-compatible", busy.url, LOCAL)
            + "[chat]\nejection_failures = 1\nmax_retries = 0\nmax_wait_seconds = 0\n"
        )
        async with chat_stage(tmp_path, file) as stage:
            broken.replies = [Reply(b"{}", 500)]
            busy.replies = [Reply(b"{}", 429, headers={"retry-after": "30"})]
            assert await refused(stage, "broken") == "UPSTREAM_UNAVAILABLE"
            assert await refused(stage, "busy") == "UPSTREAM_RATE_LIMITED"
            models = await listed(stage)
    assert models["broken"].target_infos[0].state == TargetState.TARGET_STATE_EJECTED
    assert models["busy"].target_infos[0].state == TargetState.TARGET_STATE_COOLING
    assert all(model.target_infos[0].state_detail for model in models.values())
    assert [model.state for model in models.values()] == [READY, READY]


async def test_providers_that_hang_hold_the_list_up_for_two_seconds_at_most(tmp_path: Path) -> None:
    """The others are listed; what hangs is said to be unreachable."""
    async with OllamaServer(GEMMA, LLAVA) as ollama, silent_server() as silence:
        file = (
            chat_model("hangs", ["slow/m", "dark/m"])
            + provider("slow", "ollama", silence.url)
            + provider("dark", "openai-compatible", silence.url, LOCAL)
            + provider("ollama", "ollama", ollama.url)
        )
        async with chat_stage(tmp_path, file) as stage, measured_lag() as lag:
            began = time.monotonic()
            models = await listed(stage)
            assert time.monotonic() - began < 2.0 + lag.seconds
    assert list(models) == ["hangs", "ollama/gemma3n:e2b", "ollama/llava:latest"]
    assert [info.state for info in models["hangs"].target_infos] == [UNREACHABLE, UNREACHABLE]


async def test_model_that_the_file_names_in_another_way_is_not_listed_twice(tmp_path: Path) -> None:
    """With and without its tag it is the same model to an Ollama."""
    async with OllamaServer(LLAVA) as ollama:
        file = chat_model("eye", ["ollama/llava"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file) as stage:
            assert list(await listed(stage)) == ["eye"]


async def test_tokens_are_not_counted_and_nothing_is_loaded_or_unloaded(tmp_path: Path) -> None:
    """Providers do that as they see fit; callers get the description that GetModel gives."""
    async with OllamaServer(GEMMA) as ollama:
        file = chat_model("me", ["ollama/gemma3n:e2b"]) + provider("ollama", "ollama", ollama.url)
        async with chat_stage(tmp_path, file) as stage:
            wanted = (await stage.models.GetModel(GetModelRequest(model="me"))).model
            assert (await stage.models.LoadModel(LoadModelRequest(model="me"))).model == wanted
            assert (await stage.models.UnloadModel(UnloadModelRequest(model="me"))).model == wanted
            counted = await failure_of(
                stage.models.CountTokens(CountTokensRequest(model="me", inputs=["one"]))
            )
        assert {seen.path for seen in ollama.requests} == {"/api/show"}
    assert (wanted.name, wanted.state) == ("me", READY)
    assert (counted.reason, counted.violations[0][0]) == ("NOT_SUPPORTED", "model")


async def test_list_survives_whatever_an_ollama_says_of_its_models(tmp_path: Path) -> None:
    """Names that are none are left out; a context beyond what the contract has room for is cut to that."""
    odd = [
        ServedModel("", says("")),
        ServedModel("a b", says("")),
        ServedModel("x" * 300, says("")),
        ServedModel("vast:1b", says("!"), context_length=2**40),
    ]
    async with (
        OllamaServer(*odd) as ollama,
        chat_stage(tmp_path, provider("ollama", "ollama", ollama.url)) as stage,
    ):
        models = await listed(stage)
    assert {name: model.max_input_tokens for name, model in models.items()} == {"ollama/vast:1b": 2**31 - 1}


async def test_capability_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """A newer client may know more of them."""
    async with chat_stage(tmp_path, provider("ollama", "ollama", CLOSED)) as stage:
        request = ListModelsRequest()
        request.MergeFromString(b"\x08\x63")
        failure = await failure_of(stage.models.ListModels(request))
    assert (failure.reason, failure.violations[0][0]) == ("INVALID_REQUEST", "capability")


async def test_paid_targets_are_listed_as_ready_once_they_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sheets say of their models is told, and that they cost money."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    key = f'api_key = "env:{KEY_VARIABLE}"'
    async with anthropic_server(AnyReply([])) as claude:
        file = (
            chat_model("best", ["claude/claude-sonnet-4-5"])
            + provider("claude", "anthropic", claude.url, key)
            + '[paid]\nenabled = true\nledger = "spending.sqlite3"\n'
        )
        async with chat_stage(tmp_path, file) as stage:
            [info] = (await listed(stage))["best"].target_infos
        assert claude.requests == []
    assert (info.state, info.paid, info.tools, info.images) == (HEALTHY, True, True, True)


async def test_a_list_for_routing_asks_no_provider(tmp_path: Path) -> None:
    """A router wants one every few seconds: names and fingerprints, which the service knows by itself."""
    async with openai_server() as server:
        section = provider("lan", "openai-compatible", server.url, LOCAL)
        file = chat_model("talk", ["lan/m"]) + embed_model("vec", ["lan/v"], "dimensions = 4") + section
        async with chat_stage(tmp_path, file) as stage:
            full = await stage.models.ListModels(ListModelsRequest())
            assert server.requests
            server.requests.clear()
            brief = await stage.models.ListModels(ListModelsRequest(), metadata=(BRIEF,))
        assert server.requests == []
    assert [(one.name, one.fingerprint) for one in brief.models] == [
        (one.name, one.fingerprint) for one in full.models
    ]
    assert [one.state for one in brief.models] == [READY, READY]
