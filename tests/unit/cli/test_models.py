"""`inglenook models`: what is known of each model, and what loading and unloading say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from inglenook.common.v1 import Capability, ModelInfo, ModelState, Pooling, Precision
from inglenook.model.v1 import (
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)

from services.chassis.errors import CallError, Reason
from services.cli.commands.load import LOAD_SECONDS
from services.router.errors import UnknownModel
from tests.unit.cli.canned import SERVED_BY, CannedRouter

READY, AVAILABLE = ModelState.MODEL_STATE_READY, ModelState.MODEL_STATE_AVAILABLE
MEBIBYTE = 2**20


class Failed(CallError):
    """Stands for a model that cannot be loaded."""

    reason = Reason.MODEL_FAILED

    def __init__(self, name: str) -> None:
        super().__init__(f"the model {name} could not be loaded: no file")


@pytest.fixture
def states(router: CannedRouter) -> dict[str, ModelState.ValueType]:
    """Let the router have the models `a` and `b`, which can be loaded, and return their states."""
    states = {"a": AVAILABLE, "b": AVAILABLE}

    def model(name: str) -> ModelInfo:
        if name not in states:
            raise UnknownModel(states)
        loaded = states[name] == READY
        return ModelInfo(name=name, state=states[name], memory_bytes=88 * MEBIBYTE if loaded else 0)

    def load(request: LoadModelRequest) -> LoadModelResponse:
        states[request.model] = READY
        return LoadModelResponse(model=model(request.model))

    def unload(request: UnloadModelRequest) -> UnloadModelResponse:
        states[request.model] = AVAILABLE
        return UnloadModelResponse(model=model(request.model))

    router.on(GetModelRequest, lambda request: GetModelResponse(model=model(request.model)))
    router.on(LoadModelRequest, load)
    router.on(UnloadModelRequest, unload)
    return states


def describe(router: CannedRouter, model: ModelInfo) -> dict[str, str]:
    """Return what `models info` says of a model: a value for each name."""
    router.on(GetModelRequest, lambda _: GetModelResponse(model=model))
    done = router.run("models", "info", model.name)
    assert done.exit_code == 0, done.stderr
    lines = (line.split("  ", 1) for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, value in lines}


def test_info_says_everything_that_is_known_of_a_model(router: CannedRouter) -> None:
    """Every field of the contract has a line, in the words that the configuration uses."""
    took = Duration()
    took.FromTimedelta(timedelta(seconds=2.5))
    told = describe(
        router,
        ModelInfo(
            name="small",
            capability=Capability.CAPABILITY_EMBED,
            state=ModelState.MODEL_STATE_FAILED,
            state_detail="the file [x] is gone",
            source="hf:org/small",
            revision="0" * 40,
            fingerprint="f" * 64,
            architecture="bert",
            precision=Precision.PRECISION_FP16,
            execution_provider="cuda",
            max_input_tokens=512,
            dimensions=384,
            pooling=Pooling.POOLING_LAST_TOKEN,
            labels=["entailment", "neutral"],
            memory_bytes=88 * MEBIBYTE,
            load_time=took,
            targets=["ollama/x", "other/y"],
        ),
    )
    assert told == {
        "name": "small",
        "capability": "embed",
        "state": "failed",
        "detail": "the file [x] is gone",
        "source": "hf:org/small",
        "revision": "0" * 40,
        "fingerprint": "f" * 64,
        "architecture": "bert",
        "precision": "fp16",
        "provider": "cuda",
        "max tokens": "512",
        "dimensions": "384",
        "pooling": "last_token",
        "labels": "entailment, neutral",
        "memory": "88 MiB",
        "load time": "2.5 s",
        "targets": "ollama/x, other/y",
    }


def test_info_has_no_line_for_what_a_model_has_not(router: CannedRouter) -> None:
    """A model that was never loaded shows no zeros that somebody could take for facts."""
    told = describe(router, ModelInfo(name="small", capability=Capability.CAPABILITY_NLI, source="dir:x"))
    assert told == {"name": "small", "capability": "nli", "state": "unknown", "source": "dir:x"}


def test_info_of_a_newer_cluster_is_shown_with_its_numbers(router: CannedRouter) -> None:
    """A state or precision that this version has no word for ends no command."""
    newer = ModelInfo(name="small")
    newer.MergeFromString(bytes([2 << 3, 99, 3 << 3, 98, 9 << 3, 97]))  # capability, state and precision
    told = describe(router, newer)
    assert (told["capability"], told["state"], told["precision"]) == ("99", "98", "97")


def test_info_as_json_is_the_response_of_the_contract(router: CannedRouter) -> None:
    """A program finds the names that the contract has."""
    model = ModelInfo(name="small", state=READY, labels=["x"])
    router.on(GetModelRequest, lambda _: GetModelResponse(model=model))
    document = router.document("models", "info", "small")
    assert document["servedBy"] == SERVED_BY
    assert (document["model"]["name"], document["model"]["state"]) == ("small", "MODEL_STATE_READY")
    assert document["model"]["labels"] == ["x"]


def test_info_of_an_unknown_model_lists_those_there_are(router: CannedRouter) -> None:
    """A misspelt name costs one look."""

    def unknown(request: GetModelRequest) -> GetModelResponse:
        raise UnknownModel(["small"])

    router.on(GetModelRequest, unknown)
    assert router.run("models", "info", "smal").exit_code == 1
    error = router.error("models", "info", "smal")
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert error["message"].endswith("models here: small")


def test_list_shows_why_a_model_failed_below_its_line(router: CannedRouter) -> None:
    """Brackets in a path or a message are no markup."""
    model = ModelInfo(
        name="small",
        capability=Capability.CAPABILITY_RERANK,
        state=ModelState.MODEL_STATE_FAILED,
        state_detail="no file [/x]",
        source="dir:[/x]",
    )
    router.on(ListModelsRequest, lambda _: ListModelsResponse(models=[model]))
    _, line, reason = router.run("models", "list").stdout.splitlines()
    assert line.split() == ["small", "rerank", "failed", "dir:[/x]"]
    assert reason.split() == ["no", "file", "[/x]"]


def test_loading_says_what_became_of_each_model(
    router: CannedRouter, states: dict[str, ModelState.ValueType]
) -> None:
    """A line for each: what it was, what it is, how long it took and what it takes."""
    states["b"] = READY
    done = router.run("models", "load", "a", "b")
    assert done.exit_code == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("a is ready (was available), after ")
    assert first.endswith("s, 88 MiB")
    assert second.startswith("b is ready (as before), after ")
    assert states == {"a": READY, "b": READY}


def test_unloading_says_what_became_of_each_model(
    router: CannedRouter, states: dict[str, ModelState.ValueType]
) -> None:
    """Memory that is free again is not told as taken."""
    states["a"] = READY
    done = router.run("models", "unload", "a")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("a is available (was ready), after ")
    assert "MiB" not in done.stdout
    assert states["a"] == AVAILABLE


def test_json_of_loading_is_a_list_of_models_with_what_each_took(
    router: CannedRouter, states: dict[str, ModelState.ValueType]
) -> None:
    """A program gets one document, whatever the number of models."""
    document = router.document("models", "load", "a", "b")
    assert set(document) == {"models"}
    told = [(one["name"], one["stateBefore"], one["state"]) for one in document["models"]]
    assert told == [
        ("a", "MODEL_STATE_AVAILABLE", "MODEL_STATE_READY"),
        ("b", "MODEL_STATE_AVAILABLE", "MODEL_STATE_READY"),
    ]
    assert all(one["seconds"] > 0 for one in document["models"])


def test_a_model_that_cannot_be_loaded_is_named_beside_those_that_were(
    router: CannedRouter, states: dict[str, ModelState.ValueType]
) -> None:
    """The command ends there, and says what is loaded by now."""

    def fail(request: LoadModelRequest) -> LoadModelResponse:
        if request.model == "a":
            raise Failed(request.model)
        return LoadModelResponse(model=ModelInfo(name=request.model, state=READY))

    router.on(LoadModelRequest, fail)
    done = router.run("models", "load", "b", "a")
    assert done.exit_code == 1
    assert done.stdout.startswith("b is ready")
    assert "MODEL_FAILED: the model a could not be loaded: no file" in done.stderr
    error = router.error("models", "load", "b", "a", "b")
    assert (error["reason"], error["model"]) == ("MODEL_FAILED", "a")
    assert [one["name"] for one in error["models"]] == ["b"]


@pytest.mark.parametrize("command", ["load", "unload"])
def test_an_unknown_model_changes_nothing(
    router: CannedRouter, states: dict[str, ModelState.ValueType], command: str
) -> None:
    """The name is checked before anything is asked of the model."""
    error = router.error("models", command, "c")
    assert (error["reason"], error["model"]) == ("MODEL_NOT_FOUND", "c")
    assert [type(request) for request in router.requests] == [GetModelRequest]
    assert states == {"a": AVAILABLE, "b": AVAILABLE}


def test_loading_may_take_as_long_as_fetching_a_model_does() -> None:
    """The usual deadline would end the fetching of any larger model."""
    assert LOAD_SECONDS == 3600
