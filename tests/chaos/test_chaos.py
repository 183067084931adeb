"""What each fault costs callers under steady load, on real processes."""

from __future__ import annotations

import pytest

from tests.chaos import faults, redis_faults
from tests.chaos.callers import embed_many, embed_one, impatient
from tests.chaos.cluster import ENGINES, Hurt
from tests.chaos.phases import Promise, for_a_while, suffer
from tests.chaos.rewriting import rewritten

ALL_ENGINES = [f"{name}-1" for name in ENGINES]
CHATTERS = 2
"""Callers that chat."""


async def test_nothing_fails_while_nothing_happens(hurt: Hurt, seconds: float) -> None:
    """The load alone costs no call; what is counted here is what the faults are compared to."""
    await suffer(hurt, "none", for_a_while(seconds))


def of(victims: list[str]) -> str:
    """Return what the victims are called in the table."""
    return ", ".join(name.partition("-")[0] for name in victims)


async def test_a_killed_replica_costs_no_call(hurt: Hurt, seconds: float, victims: list[str]) -> None:
    """SIGKILL: calls without side effects are made again elsewhere."""
    await suffer(hurt, f"SIGKILL {of(victims)}", faults.killed(hurt, seconds, *victims))


async def test_a_frozen_replica_costs_no_patient_call(hurt: Hurt, seconds: float, victims: list[str]) -> None:
    """SIGSTOP and SIGCONT: the calls that it holds are made again elsewhere."""
    await suffer(hurt, f"SIGSTOP {of(victims)}", faults.frozen(hurt, 2 * seconds, *victims))


async def test_a_stopped_replica_costs_no_call(hurt: Hurt, seconds: float, victims: list[str]) -> None:
    """SIGTERM: it drains."""
    await suffer(hurt, f"SIGTERM {of(victims)}", faults.stopped(hurt, seconds, *victims))


async def test_a_killed_chat_service_costs_the_answers_that_it_was_giving(hurt: Hurt, seconds: float) -> None:
    """SIGKILL: a chat may have had effects, and is never made again once it was passed on."""
    promise = Promise(2 * CHATTERS, kinds=frozenset({"chat"}), codes=frozenset({"UNAVAILABLE"}))
    await suffer(hurt, "SIGKILL chat", faults.killed(hurt, seconds, "chat-1"), promise)


async def test_a_frozen_chat_service_costs_the_answers_that_it_was_giving(hurt: Hurt, seconds: float) -> None:
    """SIGSTOP and SIGCONT: the same."""
    promise = Promise(2 * CHATTERS, kinds=frozenset({"chat"}), codes=frozenset({"UNAVAILABLE"}))
    await suffer(hurt, "SIGSTOP chat", faults.frozen(hurt, 2 * seconds, "chat-1"), promise)


async def test_a_stopped_chat_service_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """SIGTERM: it finishes the answers that it has begun."""
    await suffer(hurt, "SIGTERM chat", faults.stopped(hurt, seconds, "chat-1"))


async def test_a_slow_replica_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """It answers half a second late; callers who wait get their answers."""
    fault = faults.misbehaving(hurt, seconds, "slow 0.5", *ALL_ENGINES)
    await suffer(hurt, "slow replica", fault)


async def test_a_replica_that_fails_half_of_its_calls_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """What it fails is answered elsewhere."""
    fault = faults.misbehaving(hurt, seconds, "failing 0.5", *ALL_ENGINES)
    await suffer(hurt, "replica that fails half", fault)


async def test_a_replica_that_answers_nonsense_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """The router reads every answer: too few, unreadable and without a number, it is asked for elsewhere."""
    fault = faults.misbehaving(hurt, seconds, "garbage", *ALL_ENGINES)
    await suffer(hurt, "replica that answers nonsense", fault)


async def test_without_the_local_model_nothing_paid_is_asked(hurt: Hurt, seconds: float) -> None:
    """Chats fail and say why, while the provider that could answer is not allowed to."""
    promise = Promise(
        share=1.0, kinds=frozenset({"chat"}), codes=frozenset({"UNAVAILABLE", "FAILED_PRECONDITION"})
    )
    await suffer(hurt, "Ollama fails", faults.speechless(hurt, seconds / 2), promise)


async def test_a_killed_redis_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """SIGKILL and a restart: calls go on without it."""
    await suffer(hurt, "SIGKILL Redis", redis_faults.redis_killed(hurt, seconds))


async def test_a_frozen_redis_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """SIGSTOP and SIGCONT: calls wait for it a tenth of a second at most, and soon not at all."""
    await suffer(hurt, "SIGSTOP Redis", redis_faults.redis_frozen(hurt, seconds))


async def test_a_full_redis_costs_no_call(hurt: Hurt, seconds: float) -> None:
    """What cannot be kept is not kept."""
    await suffer(hurt, "full Redis", redis_faults.redis_full(hurt, seconds))


async def test_what_others_wrote_into_redis_is_no_answer(hurt: Hurt, seconds: float) -> None:
    """Values that were swapped, cut, turned or replaced are not taken for answers."""
    await suffer(hurt, "poisoned Redis", redis_faults.redis_poisoned(hurt, seconds))


async def test_fifty_configurations_cost_no_call(hurt: Hurt, seconds: float) -> None:
    """Calls in flight keep what they began with; a broken file changes nothing and says why."""
    await suffer(hurt, "50 configurations, every third broken", rewritten(hurt, seconds))


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
async def test_callers_of_two_routers_lose_nothing_with_one_of_them(
    hurt: Hurt, seconds: float, how: str
) -> None:
    """A channel that balances, looks at health and tries again needs nothing else."""
    fault = faults.stopped if how == "SIGTERM" else faults.killed
    kinds = (embed_one, embed_one, embed_many, impatient)
    await suffer(
        hurt, f"{how} router, callers know two", fault(hurt, seconds, "router-2"), kinds=kinds, desk=hurt.both
    )
