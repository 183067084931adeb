"""Models of an embed service that come, go and fail, as callers and probes see it."""

from __future__ import annotations

import shutil
from pathlib import Path

import grpc
import pytest
from inglenook.common.v1 import Capability, ModelInfo, ModelState, Pooling, Precision
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import (
    CountTokensRequest,
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)

from tests.support.engines import SERVICE, Engine, embedding, model_section
from tests.support.polling import until
from tests.support.routing import failed
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiny import write_model

REQUEST = EmbedRequest(model="tiny", inputs=["the cat sits"])
ASLEEP = "preload = false"
NEVER = 'on_demand = "never"'


async def model(engine: Engine, name: str = "tiny") -> ModelInfo:
    """Return what the service says about a model."""
    return (await engine.models.GetModel(GetModelRequest(model=name), timeout=LIMIT_SECONDS)).model


async def until_state(engine: Engine, state: ModelState.ValueType, name: str = "tiny") -> ModelInfo:
    """Wait until a model is in a state."""

    async def look() -> bool:
        return (await model(engine, name)).state == state

    await until(look)
    return await model(engine, name)


async def test_first_call_loads_a_model_that_is_not_preloaded(tmp_path: Path, tiny_model: Path) -> None:
    """Whoever calls waits for the load and gets an answer; the service is SERVING from the start."""
    async with embedding(tmp_path, model_section("tiny", tiny_model, ASLEEP)) as engine:
        assert (await model(engine)).state == ModelState.MODEL_STATE_AVAILABLE

        assert len((await engine.ask(REQUEST)).embeddings) == 1
        assert (await model(engine)).state == ModelState.MODEL_STATE_READY


async def test_call_can_be_told_to_come_back_while_its_model_is_loaded(
    tmp_path: Path, tiny_model: Path
) -> None:
    """With on_demand = "retry" nobody waits: NOT_READY with RetryInfo, and soon the same call succeeds."""
    models = model_section("tiny", tiny_model, ASLEEP)
    async with embedding(tmp_path, models, more='on_demand = "retry"') as engine:
        told = await engine.refusal(REQUEST)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        assert told.retry_after_seconds is not None

        await until_state(engine, ModelState.MODEL_STATE_READY)
        assert len((await engine.ask(REQUEST)).embeddings) == 1


async def test_model_that_nobody_calls_leaves_memory_and_comes_back(tmp_path: Path, tiny_model: Path) -> None:
    """Idle models cost nothing, and the next call does not notice more than a wait."""
    models = model_section("tiny", tiny_model, "idle_unload_seconds = 0.2")
    async with embedding(tmp_path, models) as engine:
        assert len((await engine.ask(REQUEST)).embeddings) == 1

        gone = await until_state(engine, ModelState.MODEL_STATE_AVAILABLE)

        assert gone.memory_bytes == 0
        assert await engine.serves(SERVICE)
        assert len((await engine.ask(REQUEST)).embeddings) == 1


async def test_model_that_is_only_loaded_by_hand_is_not_ready_until_then(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Calls are refused with NOT_READY and what to do; LoadModel brings model and health up."""
    models = model_section("tiny", tiny_model, ASLEEP)
    async with embedding(tmp_path, models, more=NEVER, serves=False) as engine:
        told = await engine.refusal(REQUEST)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        assert "load it first" in told.message
        assert told.retry_after_seconds is None  # waiting alone would not help
        assert (await model(engine)).state == ModelState.MODEL_STATE_AVAILABLE
        assert not await engine.serves(SERVICE)
        assert await engine.serves("inglenook.model.v1.ModelService")

        loaded = await engine.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert loaded.model.state == ModelState.MODEL_STATE_READY
        assert await engine.serves(SERVICE)
        assert len((await engine.ask(REQUEST)).embeddings) == 1


async def test_unloading_takes_the_service_down_and_loading_brings_it_back(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Unloading twice changes nothing; loading twice neither."""
    async with embedding(tmp_path, model_section("tiny", tiny_model), more=NEVER) as engine:
        for _ in range(2):
            gone = await engine.models.UnloadModel(UnloadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
            assert gone.model.state == ModelState.MODEL_STATE_AVAILABLE
            assert gone.model.memory_bytes == 0
        assert not await engine.serves(SERVICE)
        assert (await engine.refusal(REQUEST)).reason == "NOT_READY"
        for _ in range(2):
            back = await engine.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
            assert back.model.state == ModelState.MODEL_STATE_READY
        assert await engine.serves(SERVICE)


async def test_a_loaded_model_is_described_in_full(tmp_path: Path, tiny_model: Path) -> None:
    """What only a load finds out is there: dimensions, limits, fingerprint, how it runs."""
    async with embedding(tmp_path, model_section("tiny", tiny_model)) as engine:
        told = await model(engine)
    assert (told.name, told.capability) == ("tiny", Capability.CAPABILITY_EMBED)
    assert (told.dimensions, told.max_input_tokens) == (32, 64)
    assert (told.pooling, told.precision) == (Pooling.POOLING_MEAN, Precision.PRECISION_FP32)
    assert (told.architecture, told.execution_provider) == ("bert", "cpu")
    assert told.source == f"dir:{tiny_model}"
    assert len(told.fingerprint) == 64
    assert told.load_time.ToNanoseconds() > 0
    assert told.state_detail == ""


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"not weights"),
        ("model.safetensors", None),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", None),
        ("config.json", b"{"),
    ],
)
async def test_a_broken_model_says_why_and_is_loaded_once_it_is_repaired(
    tmp_path: Path, tiny_model: Path, file: str, content: bytes | None
) -> None:
    """FAILED with the file's name, calls answered MODEL_FAILED, health NOT_SERVING; LoadModel tries again."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    async with embedding(tmp_path, model_section("tiny", folder), serves=False) as engine:
        told = await until_state(engine, ModelState.MODEL_STATE_FAILED)
        assert file in told.state_detail
        refused = await engine.refusal(REQUEST)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_FAILED")
        assert told.state_detail in refused.message
        load = engine.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert (await failed(load)).reason == "MODEL_FAILED"
        assert not await engine.serves(SERVICE)

        shutil.copy(tiny_model / file, folder)
        await engine.models.LoadModel(LoadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert await engine.serves(SERVICE)
        assert (await model(engine)).state_detail == ""
        assert len((await engine.ask(REQUEST)).embeddings) == 1


async def test_a_broken_model_does_not_take_the_others_down(tmp_path: Path, tiny_model: Path) -> None:
    """The service serves what it has; only calls for the broken one fail."""
    models = model_section("broken", tmp_path / "nowhere") + model_section("tiny", tiny_model)
    async with embedding(tmp_path, models) as engine:
        assert len((await engine.ask(REQUEST)).embeddings) == 1
        refused = await engine.refusal(EmbedRequest(model="broken", inputs=["a"]))
        assert (refused.reason, refused.metadata) == ("MODEL_FAILED", {"model": "broken"})
        assert str(tmp_path / "nowhere") in refused.message


async def test_models_are_listed_in_the_order_of_the_file(tmp_path: Path, tiny_model: Path) -> None:
    """Loaded or not, all of them; a filter for another capability leaves none."""
    models = "".join(model_section(name, tiny_model, ASLEEP) for name in ("zebra", "ant", "mole"))
    async with embedding(tmp_path, models, serves=False) as engine:
        everything = await engine.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
        rerankers = await engine.models.ListModels(
            ListModelsRequest(capability=Capability.CAPABILITY_RERANK), timeout=LIMIT_SECONDS
        )
    assert [one.name for one in everything.models] == ["zebra", "ant", "mole"]
    assert not rerankers.models


async def test_with_several_models_a_call_has_to_name_one(tmp_path: Path, tiny_model: Path) -> None:
    """An empty name means the only model; where there are two, the names are told."""
    models = model_section("one", tiny_model) + model_section("two", write_model(tmp_path / "two", seed=8))
    async with embedding(tmp_path, models) as engine:
        told = await engine.refusal(EmbedRequest(inputs=["a"]))
        one = await engine.ask(EmbedRequest(model="one", inputs=["a"]))
        two = await engine.ask(EmbedRequest(model="two", inputs=["a"]))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [field for field, _ in told.violations] == ["model"]
    assert "one, two" in told.message
    assert (one.model, two.model) == ("one", "two")
    assert list(one.embeddings[0].values) != list(two.embeddings[0].values)


async def test_tokens_are_counted_as_the_model_sees_them(tmp_path: Path, tiny_model: Path) -> None:
    """Special tokens included, nothing truncated, and the limit comes along."""
    async with embedding(tmp_path, model_section("tiny", tiny_model)) as engine:
        request = CountTokensRequest(model="tiny", inputs=["the cat sits", "a " * 100])
        told = await engine.models.CountTokens(request, timeout=LIMIT_SECONDS)
        empty = engine.models.CountTokens(CountTokensRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert (await failed(empty)).reason == "INVALID_REQUEST"
    assert list(told.token_counts) == [5, 102]
    assert (told.max_input_tokens, told.model) == (64, "tiny")


async def test_model_of_another_capability_is_not_mistaken_for_an_unknown_one(
    tmp_path: Path, tiny_model: Path
) -> None:
    """The caller has the right name and the wrong method; the answer says which capability the model has."""
    models = model_section("tiny", tiny_model) + (
        f'[models.ranker]\ncapability = "rerank"\nkind = "bi-encoder"\nsource = "dir:{tiny_model}"\n'
    )
    async with embedding(tmp_path, models) as engine:
        told = await engine.refusal(EmbedRequest(model="ranker", inputs=["a"]))
        listed = await engine.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "WRONG_CAPABILITY")
    assert told.metadata == {"model": "ranker", "capability": "rerank"}
    assert [field for field, _ in told.violations] == ["model"]
    assert [one.name for one in listed.models] == ["tiny"]


async def test_model_that_providers_run_is_not_mistaken_for_one_of_the_engine(
    tmp_path: Path, tiny_model: Path
) -> None:
    """It is neither listed nor loaded here, and a call for it says which service to ask."""
    remote = (
        '[models.there]\ncapability = "embed"\ntargets = ["ollama/x"]\n'
        '[models.talker]\ncapability = "chat"\ntargets = ["ollama/x"]\n'
    )
    async with embedding(tmp_path, model_section("tiny", tiny_model) + remote) as engine:
        told = await engine.refusal(EmbedRequest(model="there", inputs=["a"]))
        talker = await engine.refusal(EmbedRequest(model="talker", inputs=["a"]))
        only = await engine.ask(EmbedRequest(inputs=["a"]))
        listed = await engine.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "run by providers: the chat service answers for it" in told.message
    assert (talker.reason, talker.metadata["capability"]) == ("WRONG_CAPABILITY", "chat")
    assert only.model == "tiny"
    assert [one.name for one in listed.models] == ["tiny"]


async def test_every_method_of_the_model_service_names_the_models_that_exist(
    tmp_path: Path, tiny_model: Path
) -> None:
    """A misspelt name is answered with the right ones, whatever was asked of it."""
    async with embedding(tmp_path, model_section("tiny", tiny_model)) as engine:
        calls = [
            engine.models.GetModel(GetModelRequest(model="tinny"), timeout=LIMIT_SECONDS),
            engine.models.LoadModel(LoadModelRequest(model="tinny"), timeout=LIMIT_SECONDS),
            engine.models.UnloadModel(UnloadModelRequest(model="tinny"), timeout=LIMIT_SECONDS),
            engine.models.CountTokens(CountTokensRequest(model="tinny", inputs=["a"]), timeout=LIMIT_SECONDS),
        ]
        told = [await failed(call) for call in calls]
    for one in told:
        assert (one.code, one.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        assert one.metadata == {"models": "tiny"}
        assert "tiny" in one.message


async def test_a_service_serves_for_as_long_as_one_of_its_models_answers(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Taking one of two models out, or loading it again, does not turn callers of the other away."""
    models = model_section("tiny", tiny_model) + model_section("other", tiny_model)
    async with embedding(tmp_path, models, more=NEVER) as engine:
        await engine.models.UnloadModel(UnloadModelRequest(model="other"), timeout=LIMIT_SECONDS)
        assert await engine.serves(SERVICE)
        assert len((await engine.ask(REQUEST)).embeddings) == 1
        assert (await engine.refusal(EmbedRequest(model="other", inputs=["a"]))).reason == "NOT_READY"
        await engine.models.UnloadModel(UnloadModelRequest(model="tiny"), timeout=LIMIT_SECONDS)
        assert not await engine.serves(SERVICE)
