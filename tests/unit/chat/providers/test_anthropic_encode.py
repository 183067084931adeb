from __future__ import annotations

from typing import Any

import pytest

from services.chat.conversation import Effort, ResponseFormat, Sampling, ToolChoice
from services.chat.providers.facts import Facts
from services.chat.providers.failure import FailureKind
from tests.support.anthropic_requests import ADAPTIVE, BUDGETED, NOW, WEATHER, encoded, refusal

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


def test_a_plain_request_says_what_it_must_and_no_more() -> None:
    """Everything that is not asked for is left to the API, except for the longest answer, which it wants."""
    assert encoded() == {
        "model": BUDGETED,
        "max_tokens": 8192,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


def test_tools_are_described_with_their_schema() -> None:
    """An empty description is left out."""
    assert encoded(tools=(WEATHER, NOW))["tools"] == [
        {"name": "get_weather", "description": "Look it up.", "input_schema": WEATHER.parameters},
        {"name": "now", "input_schema": {"type": "object"}},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (ToolChoice(), None, None),
        (ToolChoice(), True, None),
        (ToolChoice(), False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), None, {"type": "none"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("required", "now"), None, {"type": "tool", "name": "now"}),
    ],
)
def test_tool_choice_is_said_in_the_apis_words(
    choice: ToolChoice, parallel: bool | None, sent: dict[str, Any] | None
) -> None:
    """What the API does anyway is not said."""
    body = encoded(tools=(NOW,), tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == sent


def test_without_tools_there_is_no_tool_choice() -> None:
    """The API refuses one."""
    assert "tool_choice" not in encoded(parallel_tool_calls=False, tool_choice=ToolChoice("none"))


def test_sampling_is_passed_on_as_far_as_the_api_can_express_it() -> None:
    """A seed and penalties for repetition have no place in it."""
    sampling = Sampling(0.5, 0.9, 40, 1.0, 1.0, ("END",), 7)
    body = encoded(sampling=sampling, max_output_tokens=9)
    fields = {name: body[name] for name in body if name not in ("model", "stream", "messages")}
    assert fields == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["END"],
    }


def test_zero_is_not_nothing() -> None:
    """A temperature of zero is sent."""
    assert encoded(sampling=Sampling(temperature=0.0))["temperature"] == 0.0


def test_a_temperature_above_the_apis_range_is_refused_and_named() -> None:
    """It is never lowered in silence."""
    failure = refusal(sampling=Sampling(temperature=1.01))
    assert failure.kind is FailureKind.NOT_SUPPORTED
    assert "temperature" in str(failure)


@pytest.mark.parametrize(
    ("model", "top_p", "sent"),
    [
        (BUDGETED, 0.9, None),
        (BUDGETED, 0.95, 0.95),
        ("claude-opus-4-6", 1.0, 1.0),
        (ADAPTIVE, 1.0, None),
    ],
)
def test_a_model_that_thinks_draws_tokens_its_own_way(model: str, top_p: float, sent: float | None) -> None:
    """`temperature` and `top_k` are not sent, and `top_p` only where and as the API takes it then."""
    sampling = Sampling(temperature=0.2, top_p=top_p, top_k=5, stop=("END",))
    body = encoded(model=model, effort="low", sampling=sampling)
    assert {"temperature", "top_k"}.isdisjoint(body)
    assert body.get("top_p") == sent
    assert body["stop_sequences"] == ["END"]


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_newer_models_cannot_be_told_how_to_draw_tokens(name: str) -> None:
    """They refuse it, so the next target is asked; stop texts are another matter."""
    failure = refusal(model="claude-sonnet-5", sampling=Sampling(**{name: 1}))  # type: ignore[arg-type]
    assert failure.kind is FailureKind.NOT_SUPPORTED
    assert name in str(failure)
    assert encoded(model="claude-sonnet-5", sampling=Sampling(stop=("END",)))["stop_sequences"] == ["END"]


def test_thinking_that_is_turned_off_rules_nothing_out() -> None:
    """`disabled` is said, and all else as well."""
    choice = ToolChoice("required")
    body = encoded(effort="none", tools=(NOW,), tool_choice=choice, sampling=Sampling(temperature=0.2))
    assert body["thinking"] == {"type": "disabled"}
    assert (body["tool_choice"], body["temperature"]) == ({"type": "any"}, 0.2)


@pytest.mark.parametrize("model", [BUDGETED, ADAPTIVE])
@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("required", "now")])
def test_a_model_that_thinks_cannot_be_made_to_call_a_tool(model: str, choice: ToolChoice) -> None:
    """The API refuses it, so the next target is asked."""
    failure = refusal(model=model, effort="low", tools=(NOW,), tool_choice=choice)
    assert failure.kind is FailureKind.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output_config"),
    [
        (BUDGETED, "medium", {"type": "enabled", "budget_tokens": 4096}, None),
        (ADAPTIVE, "medium", {"type": "adaptive", "display": "summarized"}, {"effort": "medium"}),
        (ADAPTIVE, None, None, None),
    ],
)
def test_effort_is_said_as_the_model_takes_it(
    model: str, effort: Effort | None, thinking: dict[str, Any] | None, output_config: dict[str, Any] | None
) -> None:
    """A budget for the older ones, an effort for the newer ones, and nothing where nothing is asked for."""
    body = encoded(model=model, effort=effort)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output_config)


def test_a_schema_is_held_to_by_the_api() -> None:
    """As the answer's format; beside the effort where there is one."""
    wanted = {"type": "json_schema", "schema": SCHEMA}
    response_format = ResponseFormat("json_schema", "thing", SCHEMA)
    assert encoded(response_format=response_format)["output_config"] == {"format": wanted}
    body = encoded(response_format=response_format, effort="high", model="claude-opus-5")
    assert body["output_config"] == {"effort": "high", "format": wanted}


def test_json_without_a_schema_has_no_mode_of_its_own() -> None:
    """Nor has a schema where the model is known not to take one; both go into the instructions elsewhere."""
    assert "output_config" not in encoded(response_format=ResponseFormat("json"))
    response_format = ResponseFormat("json_schema", "thing", SCHEMA)
    assert "output_config" not in encoded(response_format=response_format, facts=Facts(json_schema=False))
