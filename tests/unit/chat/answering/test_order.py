"""Who is asked, in which order, and who is not asked at all."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from services.chassis.errors import CallError
from services.chat.answering.plan import drawn
from services.chat.conversation import Conversation, Image, Message, ResponseFormat, Tool, ToolChoice
from services.chat.errors import (
    BudgetExhausted,
    InputTooLong,
    NotSupported,
    PaidDisabled,
    UpstreamAuth,
    UpstreamUnavailable,
)
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind
from services.config import Chat, TargetFacts
from tests.unit.chat.answering.scripted import QUESTION, Money, ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time

DOWN = fails(FailureKind.AUTHENTICATION, status=401)
TOOL = Tool("look", "Looks.", {"type": "object"})


@in_virtual_time
async def test_the_first_target_answers_if_it_can() -> None:
    """Nobody else is asked."""
    one, two = ScriptedProvider("one", says("Hel", "lo")), ScriptedProvider("two", says("no"))
    stage = Stage()
    answer = await stage.answer(*stage.targets(one, two))
    assert (answer.started.provider, answer.started.upstream_model) == ("one", "m")
    assert answer.text == "Hello"
    assert two.asks == []


@in_virtual_time
async def test_targets_are_asked_in_order_until_one_answers() -> None:
    """Those after it are not asked."""
    stage = Stage()
    providers = [
        ScriptedProvider(name, act)
        for name, act in (("a", DOWN), ("b", DOWN), ("c", says("yes")), ("d", says("no")))
    ]
    answer = await stage.answer(*stage.targets(*providers))
    assert answer.started.provider == "c"
    assert [len(provider.asks) for provider in providers] == [1, 1, 1, 0]
    assert [(one.provider, one.reason, one.status) for one in answer.finished.attempts] == [
        ("a", "UPSTREAM_AUTH", 401),
        ("b", "UPSTREAM_AUTH", 401),
        ("c", "", None),
    ]


@in_virtual_time
async def test_weights_decide_how_often_a_target_comes_first() -> None:
    """With three times the weight, three times as often; targets without a weight keep their places."""
    stage = Stage()
    targets = stage.targets(*(ScriptedProvider(name, says("")) for name in "abcd"))
    weights = {"b/m": 3.0, "c/m": 1.0}
    chance = random.Random(7)
    orders = Counter(
        "".join(one.provider.name for one in drawn(targets, weights, chance)) for _ in range(8000)
    )
    assert set(orders) == {"abcd", "acbd"}
    assert orders["abcd"] / 8000 == pytest.approx(0.75, abs=0.02)


@in_virtual_time
async def test_an_ejected_target_is_asked_after_those_that_do_well() -> None:
    """But it is asked when they cannot answer."""
    stage = Stage(Chat(ejection_failures=1))
    one, two = ScriptedProvider("one", DOWN, says("back")), ScriptedProvider("two", says("hello"), DOWN)
    targets = stage.targets(one, two)
    assert (await stage.answer(*targets)).started.provider == "two"
    answer = await stage.answer(*targets)
    assert answer.text == "back"
    assert [report.provider for report in answer.finished.attempts] == ["two", "one"]


@in_virtual_time
async def test_the_last_target_is_asked_even_if_it_is_ejected() -> None:
    """A model is never without targets because all of them have failed."""
    stage = Stage(Chat(ejection_failures=1, max_retries=0))
    one = ScriptedProvider(
        "one", fails(FailureKind.UNAVAILABLE), fails(FailureKind.UNAVAILABLE), says("back")
    )
    [target] = stage.targets(one)
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await stage.answer(target)
    assert (await stage.answer(target)).text == "back"


@in_virtual_time
async def test_paid_targets_are_not_asked_unless_that_is_enabled() -> None:
    """Alone, such a target makes the call fail with what is missing."""
    stage = Stage(paid_enabled=False)
    paid = ScriptedProvider("paid", says("no"), paid=True)
    with pytest.raises(PaidDisabled, match=r"paid\.enabled is false") as caught:
        await stage.answer(*stage.targets(paid))
    assert caught.value.metadata == {"skipped": "paid/m PAID_DISABLED"}
    assert paid.asks == []


@in_virtual_time
async def test_a_local_model_that_turns_out_to_run_elsewhere_is_paid() -> None:
    """What its provider says of it counts."""
    stage = Stage(paid_enabled=False)
    remote = ScriptedProvider("ollama", says("no"), facts=Facts(remote=True))
    with pytest.raises(PaidDisabled):
        await stage.answer(*stage.targets(remote))
    assert remote.asks == []


@in_virtual_time
async def test_a_local_model_of_which_nothing_can_be_learnt_is_not_asked() -> None:
    """It might be paid. The failure to learn it is an attempt like any other."""
    stage = Stage(Chat(max_retries=0), paid_enabled=False)
    unknown = ScriptedProvider("one", says("no"), facts=Failure(FailureKind.UNAVAILABLE, "no connection"))
    with pytest.raises(UpstreamUnavailable, match="one/m: no connection"):
        await stage.answer(*stage.targets(unknown))
    assert unknown.asks == []
    stage.paid_enabled = True
    assert (await stage.answer(*stage.targets(unknown))).text == "no"


@pytest.mark.parametrize(
    ("facts", "changes", "field"),
    [
        (Facts(tools=False), {"tools": (TOOL,)}, "tools"),
        (Facts(images=False), {"messages": (Message("user", (Image("image/png", b"x"),)),)}, "messages"),
        (Facts(reasoning=False), {"effort": "low"}, "reasoning"),
        (Facts(reasoning=False), {"reasoning_tokens": 100}, "reasoning"),
        (Facts(chat=False), {}, "model"),
    ],
)
@in_virtual_time
async def test_what_a_model_is_known_not_to_do_is_not_asked_of_it(
    facts: Facts, changes: dict[str, object], field: str
) -> None:
    """The error names the field; where nothing is known, the model is asked."""
    stage = Stage()
    conversation: Conversation = replace(QUESTION, **changes)  # type: ignore[arg-type]
    unable, unknown = (
        ScriptedProvider("unable", says("no"), facts=facts),
        ScriptedProvider("unknown", says("yes")),
    )
    with pytest.raises(NotSupported) as caught:
        await stage.answer(*stage.targets(unable), conversation=conversation)
    assert [path for path, _ in caught.value.violations] == [field]
    answer = await stage.answer(*stage.targets(unable, unknown), conversation=conversation)
    assert answer.text == "yes"
    assert unable.asks == []


@pytest.mark.parametrize(
    "changes", [{"tools": (TOOL,), "tool_choice": ToolChoice("none")}, {"effort": "none"}, {}]
)
@in_virtual_time
async def test_what_is_not_needed_is_not_demanded(changes: dict[str, object]) -> None:
    """A model without an ability answers what does not need it."""
    stage = Stage()
    plain = ScriptedProvider("plain", says("yes"), facts=Facts(tools=False, images=False, reasoning=False))
    conversation: Conversation = replace(QUESTION, **changes)  # type: ignore[arg-type]
    assert (await stage.answer(*stage.targets(plain), conversation=conversation)).text == "yes"


@in_virtual_time
async def test_the_configuration_knows_better_than_the_provider() -> None:
    """What it says of a target replaces what the provider says, and only that."""
    stage = Stage()
    provider = ScriptedProvider("one", says("yes"), facts=Facts(tools=False, context_length=100))
    target = stage.target(provider, TargetFacts(tools=True, json_schema=True))
    await stage.answer(target, conversation=replace(QUESTION, tools=(TOOL,)))
    assert provider.asks[0].facts == Facts(tools=True, context_length=100, json_schema=True)


@in_virtual_time
async def test_what_was_too_long_for_one_model_is_not_sent_to_smaller_ones() -> None:
    """Larger ones and those of unknown length are asked."""
    stage = Stage()
    long = fails(FailureKind.CONTEXT_LENGTH, status=400)
    first = ScriptedProvider("first", long, facts=Facts(context_length=8192))
    same = ScriptedProvider("same", says("no"), facts=Facts(context_length=8192))
    unknown = ScriptedProvider("unknown", long)
    larger = ScriptedProvider("larger", says("yes"), facts=Facts(context_length=8193))
    answer = await stage.answer(*stage.targets(first, same, unknown, larger))
    assert answer.text == "yes"
    assert (len(same.asks), len(unknown.asks)) == (0, 1)
    with pytest.raises(InputTooLong) as caught:
        await stage.answer(*stage.targets(first, same))
    assert caught.value.metadata["attempts"] == "first/m INPUT_TOO_LONG 400"
    assert caught.value.metadata["skipped"] == "same/m INPUT_TOO_LONG"


async def test_what_only_a_repair_made_too_long_says_nothing_about_others() -> None:
    """The next target is asked without the answer that did not fit and what is wrong with it."""
    stage = Stage()
    facts = Facts(context_length=8192)
    long = fails(FailureKind.CONTEXT_LENGTH, status=400)
    first = ScriptedProvider("first", says("no JSON"), long, facts=facts)
    same = ScriptedProvider("same", says("[1]"), facts=facts)
    wanted = replace(QUESTION, response_format=ResponseFormat("json"))
    answer = await stage.answer(*stage.targets(first, same), conversation=wanted)
    assert answer.text == "[1]"
    assert same.asks[0].conversation.messages == QUESTION.messages


@in_virtual_time
async def test_a_conversation_is_longer_than_the_context_that_was_asked_for_and_no_more() -> None:
    """A model that could read more than it was allowed to says nothing about others that can."""
    stage = Stage()
    long = fails(FailureKind.CONTEXT_LENGTH, status=400)
    first = ScriptedProvider("first", long, facts=Facts(context_length=131_072))
    second = ScriptedProvider("second", says("yes"), facts=Facts(context_length=32_768))
    assert (await stage.answer(*stage.targets(first, second), context_length=8192)).text == "yes"


@in_virtual_time
async def test_a_target_that_the_budget_does_not_allow_is_left_out() -> None:
    """The next one is asked; without one, the call fails with when to come back."""
    stage = Stage(money=Money("dear/m"))
    dear, cheap = ScriptedProvider("dear", says("no"), paid=True), ScriptedProvider("cheap", says("yes"))
    assert (await stage.answer(*stage.targets(dear, cheap))).text == "yes"
    with pytest.raises(BudgetExhausted, match="more than is left") as caught:
        await stage.answer(*stage.targets(dear))
    assert caught.value.retry_after_seconds == 60.0
    assert dear.asks == []


@in_virtual_time
async def test_a_call_fails_with_the_error_of_the_first_target_that_was_asked() -> None:
    """What the others said is in the metadata, what was not asked too."""
    stage = Stage(Chat(max_retries=1), paid_enabled=False)
    paid = ScriptedProvider("paid", says("no"), paid=True)
    one = ScriptedProvider("one", fails(FailureKind.UNAVAILABLE, status=503), fails(FailureKind.TIMEOUT))
    with pytest.raises(CallError) as caught:
        await stage.answer(*stage.targets(paid, one, ScriptedProvider("two", DOWN)))
    assert type(caught.value) is UpstreamUnavailable
    assert caught.value.metadata == {
        "attempts": "one/m UPSTREAM_UNAVAILABLE 503; one/m UPSTREAM_UNAVAILABLE; two/m UPSTREAM_AUTH 401",
        "skipped": "paid/m PAID_DISABLED",
    }
    with pytest.raises(UpstreamAuth):
        await stage.answer(*stage.targets(ScriptedProvider("two", DOWN), one))


@in_virtual_time
async def test_the_list_of_attempts_ends_between_two_of_them() -> None:
    """A status has little room; what does not fit is counted."""
    stage = Stage(Chat(max_attempts=32))
    providers = [ScriptedProvider(f"provider-{number}-{'x' * 40}", DOWN) for number in range(20)]
    with pytest.raises(UpstreamAuth) as caught:
        await stage.answer(*stage.targets(*providers))
    told = caught.value.metadata["attempts"]
    assert len(told) <= 500
    [*entries, more] = told.split("; ")
    assert more == f"and {20 - len(entries)} more"
    assert all(entry.endswith(" UPSTREAM_AUTH 401") for entry in entries)
