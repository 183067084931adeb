"""The demo's chat: whom it asks and how, and what it says where nobody can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from inglenook.chat.v1 import ReasoningOptions
from inglenook.common.v1 import ModelInfo, ModelState, TargetInfo, TargetState
from inglenook.model.v1 import ListModelsRequest, ListModelsResponse
from typer.testing import CliRunner

from services.cli.client import CallFailed
from services.cli.commands.demo.advice import is_theirs, what_failed, what_is_missing
from services.cli.commands.demo.talking import choose, question
from services.cli.main import app
from services.config import Configuration
from tests.unit.cli.canned import CannedRouter

READY = ModelState.MODEL_STATE_READY
FAILED = ModelState.MODEL_STATE_FAILED
HEALTHY = TargetState.TARGET_STATE_HEALTHY
UNREACHABLE = TargetState.TARGET_STATE_UNREACHABLE
DISABLED = TargetState.TARGET_STATE_DISABLED

REFUSED = "no connection to the provider; check that it runs and that its url is right"
MISSING = "the Ollama does not have the model; get it with: ollama pull gemma3n:e2b"
INSTALL = (
    "no Ollama answers at http://127.0.0.1:11434; install it from ollama.com, then: ollama pull gemma3n:e2b"
)
CONFIGURATION = Configuration.model_validate(
    {"providers": {"claude": {"type": "anthropic", "api_key": "env:KEY"}}}
)


def target(
    name: str,
    state: TargetState.ValueType,
    detail: str = "",
    *,
    paid: bool = False,
    thinks: bool | None = None,
) -> TargetInfo:
    """Return what is known of `provider/model`."""
    provider, _, upstream_model = name.partition("/")
    return TargetInfo(
        provider=provider,
        upstream_model=upstream_model,
        state=state,
        state_detail=detail,
        paid=paid,
        reasoning=thinks,
    )


def model(name: str, state: ModelState.ValueType, *targets: TargetInfo, detail: str = "") -> ModelInfo:
    """Return what is known of a model."""
    names = [f"{one.provider}/{one.upstream_model}" for one in targets]
    return ModelInfo(name=name, state=state, state_detail=detail, targets=names, target_infos=targets)


GEMMA = "ollama/gemma3n:e2b"
ABSENT = model("assistant", FAILED, target(GEMMA, UNREACHABLE, MISSING))
FOUND = model("ollama/found", READY, target("ollama/found", HEALTHY))
CLOUD = model("ollama/big-cloud", READY, target("ollama/big-cloud", HEALTHY, paid=True))
BOUGHT = model("bought", READY, target("claude/haiku", HEALTHY, paid=True))


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ([ABSENT, BOUGHT, FOUND], BOUGHT),
        ([ABSENT, FOUND], FOUND),
        ([ABSENT, CLOUD, FOUND], FOUND),
        ([ABSENT, CLOUD], None),
        ([], None),
    ],
)
def test_the_first_model_that_can_be_called_is_asked(
    models: Sequence[ModelInfo], chosen: ModelInfo | None
) -> None:
    """Those of the file go before those that an Ollama has besides, of which none is asked that costs."""
    assert choose(models) == chosen


@pytest.mark.parametrize(
    ("one", "effort"),
    [
        (target("ollama/x", HEALTHY, thinks=True), ReasoningOptions.EFFORT_NONE),
        (target("ollama/x", HEALTHY, thinks=False), ReasoningOptions.EFFORT_UNSPECIFIED),
        (target("ollama/x", HEALTHY), ReasoningOptions.EFFORT_UNSPECIFIED),
        (target("claude/x", HEALTHY, thinks=True, paid=True), ReasoningOptions.EFFORT_UNSPECIFIED),
    ],
)
def test_a_model_at_home_that_could_think_is_asked_not_to(
    one: TargetInfo, effort: ReasoningOptions.Effort.ValueType
) -> None:
    """Its thoughts would use up the tokens of the answer; others are not told, since not all can be."""
    request = question(model("talker", READY, one))
    assert (request.model, request.reasoning.effort) == ("talker", effort)
    assert request.max_output_tokens > 0


@pytest.mark.parametrize(
    ("models", "line"),
    [
        ([model("assistant", FAILED, target(GEMMA, UNREACHABLE, REFUSED))], INSTALL),
        ([ABSENT], f"{GEMMA}: {MISSING}"),
        (
            [
                model(
                    "assistant",
                    FAILED,
                    target("claude/haiku", DISABLED, "costs money", paid=True),
                    target(GEMMA, UNREACHABLE, REFUSED),
                )
            ],
            INSTALL,
        ),
        (
            [model("bought", FAILED, target("claude/haiku", DISABLED, "costs money"))],
            "claude/haiku: costs money",
        ),
        ([model("far", FAILED, target("elsewhere/x", UNREACHABLE, REFUSED))], f"elsewhere/x: {REFUSED}"),
        ([model("unheard", ModelState.MODEL_STATE_UNSPECIFIED, detail="none there")], "unheard: none there"),
        ([], "there is no chat model"),
    ],
)
def test_what_is_missing_is_said_in_one_line(models: Sequence[ModelInfo], line: str) -> None:
    """With the command that helps where there is one; an Ollama is the easiest to have."""
    assert what_is_missing(CONFIGURATION, models) == line


def test_the_command_that_helps_can_be_pasted_into_a_shell() -> None:
    """Whatever the configuration calls a model, a shell takes it for one word."""
    odd = model("odd", FAILED, target("ollama/x;true", UNREACHABLE, REFUSED))
    assert what_is_missing(CONFIGURATION, [odd]).endswith("ollama pull 'x;true'")


@pytest.mark.parametrize(
    ("code", "reason", "theirs"),
    [
        ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE", True),
        ("DATA_LOSS", "UPSTREAM_INTERRUPTED", True),
        ("RESOURCE_EXHAUSTED", "BUDGET_EXHAUSTED", True),
        ("DEADLINE_EXCEEDED", "DEADLINE", True),
        ("DEADLINE_EXCEEDED", "", True),
        ("UNAVAILABLE", "NO_BACKEND", False),
        ("INTERNAL", "INTERNAL", False),
        ("INVALID_ARGUMENT", "INVALID_REQUEST", False),
    ],
)
def test_failures_of_a_model_are_told_apart_from_those_of_the_cluster(
    code: str, reason: str, theirs: bool
) -> None:
    """Only the latter end the demo."""
    assert is_theirs(CallFailed(code, "", reason)) is theirs


def test_a_model_that_is_too_slow_is_told_with_the_time_that_it_had() -> None:
    """The reader knows that nothing hangs, and that a second try may go better."""
    line = what_failed(CallFailed("DEADLINE_EXCEEDED", "Deadline Exceeded"), 60.0)
    assert line.startswith("not done within 60 s, called off")
    assert what_failed(CallFailed("DATA_LOSS", "it broke off"), 60.0) == "no answer: it broke off"


def test_without_anybody_to_ask_the_demo_says_so_and_is_fine(router: CannedRouter, tmp_path: Path) -> None:
    """A machine without an Ollama has its demo, with one line for chat."""
    missing = model("assistant", FAILED, target(GEMMA, UNREACHABLE, REFUSED))
    router.on(ListModelsRequest, lambda _: ListModelsResponse(models=[missing]))
    path = tmp_path / "inglenook.toml"
    path.write_text(
        f'[models.assistant]\ncapability = "chat"\ntargets = ["{GEMMA}"]\n[routes]\nchat = ["chat"]\n'
        f'[services.router]\nlisten = "{router.address}"\n',
        encoding="utf-8",
    )
    done = CliRunner().invoke(app, ["demo", "--config", str(path)])
    assert done.exit_code == 0, done.stderr
    assert f"\nchat  {INSTALL}\n" in done.stdout
    assert len(router.requests) == 1
