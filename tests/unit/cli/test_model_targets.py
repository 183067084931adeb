"""`inglenook models`: what is said of models that providers run."""

from __future__ import annotations

import pytest
from inglenook.common.v1 import Capability, ModelInfo, ModelState, TargetInfo, TargetState
from inglenook.model.v1 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse

from tests.unit.cli.canned import CannedRouter


def test_list_shows_the_targets_of_a_model_that_has_no_source(router: CannedRouter) -> None:
    """Where its answers come from is what a reader looks for in that column."""
    model = ModelInfo(name="talker", capability=Capability.CAPABILITY_CHAT, targets=["ollama/x", "[p]/y"])
    router.on(ListModelsRequest, lambda _: ListModelsResponse(models=[model]))
    _, line = router.run("models", "list").stdout.splitlines()
    assert line.split() == ["talker", "chat", "unknown", "ollama/x,", "[p]/y"]


def infos(*states: TargetState.ValueType, detail: str = "") -> list[TargetInfo]:
    """Return targets `ollama/m0`, `ollama/m1` and so on, in these states."""
    return [
        TargetInfo(provider="ollama", upstream_model=f"m{index}", state=state, state_detail=detail)
        for index, state in enumerate(states)
    ]


HEALTHY = TargetState.TARGET_STATE_HEALTHY
COOLING = TargetState.TARGET_STATE_COOLING
UNREACHABLE = TargetState.TARGET_STATE_UNREACHABLE


def listed(router: CannedRouter, *targets: TargetInfo, detail: str = "") -> list[list[str]]:
    """Return the words of each line of the list below its head, of one model with these targets."""
    model = ModelInfo(
        name="talker",
        state=ModelState.MODEL_STATE_READY,
        state_detail=detail,
        targets=[f"{one.provider}/{one.upstream_model}" for one in targets],
        target_infos=targets,
    )
    router.on(ListModelsRequest, lambda _: ListModelsResponse(models=[model]))
    return [line.split() for line in router.run("models", "list").stdout.splitlines()[1:]]


def test_list_shows_how_each_of_several_targets_is(router: CannedRouter) -> None:
    """A line for each below the model, in the order in which they are asked."""
    assert listed(router, *infos(HEALTHY, COOLING)) == [
        ["talker", "ready"],
        ["healthy", "ollama/m0"],
        ["cooling", "ollama/m1"],
    ]


def test_list_shows_why_the_only_target_cannot_be_called(router: CannedRouter) -> None:
    """Its own sentence says more than the model's, which is left out."""
    targets = infos(UNREACHABLE, detail="nobody [there]")
    assert listed(router, *targets, detail="none of its targets can be called") == [
        ["talker", "ready"],
        ["unreachable", "ollama/m0", "nobody", "[there]"],
    ]


def test_list_keeps_a_model_with_one_healthy_target_to_one_line(router: CannedRouter) -> None:
    """Nothing about it is worth a second."""
    assert listed(router, *infos(HEALTHY)) == [["talker", "ready", "ollama/m0"]]


def test_info_shows_what_is_known_of_each_target(router: CannedRouter) -> None:
    """A line for each, in the order in which they are asked; what nobody knows is left out."""
    model = ModelInfo(
        name="talker",
        targets=["ollama/x", "claude/y", "other/z"],
        target_infos=[
            TargetInfo(
                provider="ollama",
                upstream_model="x",
                state=TargetState.TARGET_STATE_HEALTHY,
                context_length=32_768,
                tools=True,
                images=False,
                reasoning=True,
                json_schema=True,
            ),
            TargetInfo(
                provider="claude",
                upstream_model="y",
                state=TargetState.TARGET_STATE_DISABLED,
                state_detail="costs [money]",
                paid=True,
            ),
            TargetInfo(provider="other", upstream_model="z"),
        ],
    )
    router.on(GetModelRequest, lambda _: GetModelResponse(model=model))
    lines = [line.strip() for line in router.run("models", "info", "talker").stdout.splitlines()]
    assert [" ".join(line.split()) for line in lines[-3:]] == [
        "targets ollama/x healthy, 32,768 tokens, tools, reasoning, JSON schema",
        "claude/y disabled, paid, costs [money]",
        "other/z unknown",
    ]


@pytest.mark.parametrize("command", ["load", "unload"])
def test_model_that_providers_run_is_left_as_it_is(router: CannedRouter, command: str) -> None:
    """Its memory is theirs: nothing is asked of anyone, and nothing has failed."""
    model = ModelInfo(name="talker", state=ModelState.MODEL_STATE_READY, targets=["ollama/x"])
    router.on(GetModelRequest, lambda _: GetModelResponse(model=model))
    done = router.run("models", command, "talker")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "talker is left as it is: providers run it\n"
    assert {type(request) for request in router.requests} == {GetModelRequest}
    (told,) = router.document("models", command, "talker")["models"]
    assert (told["name"], told["stateBefore"], told["state"]) == (
        "talker",
        told["state"],
        "MODEL_STATE_READY",
    )
