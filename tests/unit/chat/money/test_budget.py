from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from services.chat.answer import Usage
from services.chat.answering.meter import Refusal, Reservation
from services.chat.answering.target import Target
from services.chat.conversation import Conversation
from services.chat.money.budget import Budget
from services.chat.money.ledger import IN_MEMORY, Account, Ledger
from services.config import TargetFacts
from tests.support.priced import dollar_target, question, target

NANO = 1_000_000_000
JANUARY = datetime(2027, 1, 31, 23, 59, tzinfo=UTC)
FEBRUARY = datetime(2027, 2, 1, 0, 0, tzinfo=UTC)
DECEMBER = datetime(2027, 12, 31, 23, 0, tzinfo=UTC)

HALF_A_DOLLAR = question(max_output_tokens=495)
"""Of `dollar_target`: 495 tokens at a thousandth of a dollar, and less than half a cent for the question."""


@dataclass
class Month:
    """A budget, and the time that it believes in."""

    budget: Budget
    ledger: Ledger
    now: datetime = field(default=JANUARY)

    async def spent(self) -> int:
        """Return what is booked this month, in billionths of a dollar."""
        return await self.ledger.book(Account(f"{self.now:%Y-%m}", "", ""), 0)

    async def take(self, target: Target, asked: Conversation = HALF_A_DOLLAR) -> Reservation:
        """Reserve, which must succeed."""
        reservation = await self.budget.reserve(target, asked)
        assert not isinstance(reservation, Refusal)
        return reservation

    async def refused(self, target: Target, asked: Conversation = HALF_A_DOLLAR) -> Refusal:
        """Reserve, which must be refused."""
        refusal = await self.budget.reserve(target, asked)
        assert isinstance(refusal, Refusal)
        return refusal


@asynccontextmanager
async def a_month(monthly_usd: float | None) -> AsyncIterator[Month]:
    """Return a budget that has not been touched."""
    ledger = Ledger(IN_MEMORY)
    budget = Budget(monthly_usd, ledger, lambda: month.now)
    month = Month(budget, ledger)
    yield month
    await budget.aclose()


async def test_answered_call_is_booked_with_what_it_cost() -> None:
    """Not with what was put aside for it."""
    async with a_month(10.0) as month:
        reservation = await month.take(dollar_target())
        assert await month.spent() > 495 * NANO / 1000
        assert reservation.settle(Usage(1000, 100)) == 1_000_000 + NANO // 10
        assert await month.spent() == 1_000_000 + NANO // 10


async def test_call_that_could_exceed_the_budget_is_refused() -> None:
    """However little it would cost in the end: nobody knows before."""
    async with a_month(1.0) as month:
        chosen = dollar_target()
        (await month.take(chosen)).settle(Usage(0, 600))
        refusal = await month.refused(chosen)
        assert "$0.4000 of $1.0000" in refusal.message
        assert refusal.retry_after_seconds == 60.0
        assert await month.spent() == 600 * NANO // 1000


async def test_calls_at_the_same_time_cannot_exceed_the_budget_together() -> None:
    """Each is allowed alone; all of them are not."""
    async with a_month(1.0) as month:
        chosen = dollar_target()
        taken = await asyncio.gather(*(month.budget.reserve(chosen, HALF_A_DOLLAR) for _ in range(10)))
        refusals = [one for one in taken if isinstance(one, Refusal)]
        assert len(refusals) == 8
        assert {refusal.retry_after_seconds for refusal in refusals} == {1.0}
        assert await month.spent() <= NANO


async def test_call_that_was_not_sent_gives_its_money_back() -> None:
    """Nobody was asked, so nobody is paid."""
    async with a_month(1.0) as month:
        reservation = await month.take(dollar_target())
        assert reservation.abandon(sent=False) == 0
        assert await month.spent() == 0


async def test_call_that_was_sent_and_not_answered_stays_booked() -> None:
    """The provider may have worked, and will not say how much."""
    async with a_month(1.0) as month:
        reservation = await month.take(dollar_target())
        booked = await month.spent()
        assert reservation.abandon(sent=True) is None
        assert await month.spent() == booked > 0


async def test_answer_without_usage_stays_booked_and_costs_nobody_knows_what() -> None:
    """Absent, not zero."""
    async with a_month(1.0) as month:
        reservation = await month.take(dollar_target())
        booked = await month.spent()
        assert reservation.settle(Usage(input_tokens=5)) is None
        assert await month.spent() == booked


async def test_answer_that_cost_more_than_was_put_aside_is_booked_in_full() -> None:
    """Spending is what it is; the next call is refused."""
    async with a_month(1.0) as month:
        (await month.take(dollar_target())).settle(Usage(charged_usd=Decimal(3)))
        assert await month.spent() == 3 * NANO
        assert "$0.0000 of $1.0000" in (await month.refused(dollar_target())).message


async def test_target_without_a_known_price_is_refused_while_there_is_a_budget() -> None:
    """What it costs could not be held to anything; the refusal says what to do."""
    async with a_month(1.0) as month:
        refusal = await month.refused(target())
        assert "input_usd" in refusal.message
        assert refusal.retry_after_seconds is None


async def test_without_a_budget_everything_is_allowed_and_written_down() -> None:
    """A budget that is set later knows what was spent before."""
    async with a_month(None) as month:
        assert (await month.take(target())).settle(Usage(5, 5)) is None
        assert (await month.take(dollar_target())).settle(Usage(0, 1000)) == NANO
        assert (await month.take(dollar_target())).abandon(sent=True) is None
        assert await month.spent() == NANO


async def test_local_target_needs_no_money() -> None:
    """Whatever the budget says."""
    async with a_month(0.0) as month:
        local = target(paid=False)
        assert (await month.take(local)).settle(Usage()) == 0
        assert (await month.take(local)).abandon(sent=True) == 0
        assert await month.spent() == 0


async def test_target_that_is_known_to_be_free_is_allowed_by_a_budget_of_nothing() -> None:
    """Zero does not exceed zero."""
    async with a_month(0.0) as month:
        assert (await month.take(dollar_target(0.0, 0.0))).settle(Usage(5, 5)) == 0


async def test_call_that_is_larger_than_the_budget_is_told_so() -> None:
    """Waiting for the next month would not help."""
    async with a_month(0.1) as month:
        refusal = await month.refused(dollar_target())
        assert "max_output_tokens" in refusal.message
        assert refusal.retry_after_seconds is None


async def test_input_is_put_aside_for_as_if_all_of_it_went_to_the_cache() -> None:
    """Writing to a provider's cache can be dearer than reading."""
    dearer = TargetFacts(input_usd=1.0, output_usd=0.0, cache_write_usd=2.0)
    async with a_month(1.0) as month:
        await month.take(target(overrides=TargetFacts(input_usd=1.0, output_usd=0.0)))
        plain = await month.spent()
        await month.take(target(overrides=dearer))
        assert await month.spent() == 3 * plain > 0


async def test_new_month_has_all_of_the_budget_again() -> None:
    """Months are those of the calendar in UTC."""
    async with a_month(0.6) as month:
        chosen = dollar_target()
        await month.take(chosen)
        assert (await month.refused(chosen)).retry_after_seconds == 1.0
        month.now = FEBRUARY
        await month.take(chosen)


async def test_call_over_the_turn_of_the_month_is_booked_in_the_one_it_began_in() -> None:
    """There it was put aside, and there it is corrected."""
    async with a_month(1.0) as month:
        reservation = await month.take(dollar_target())
        month.now = FEBRUARY
        reservation.settle(Usage(0, 100))
        assert await month.spent() == 0
        month.now = JANUARY
        assert await month.spent() == NANO // 10


async def test_new_month_of_december_is_in_the_next_year() -> None:
    """An hour before midnight of New Year's Eve."""
    async with a_month(1.0) as month:
        month.now = DECEMBER
        (await month.take(dollar_target())).settle(Usage(0, 1000))
        assert (await month.refused(dollar_target())).retry_after_seconds == 3600.0


async def test_call_that_is_cancelled_while_money_is_put_aside_leaves_nothing_booked() -> None:
    """Nobody would ever give it back."""
    async with a_month(10.0) as month:
        chosen = dollar_target()
        for turns in range(20):
            reserving = asyncio.create_task(month.budget.reserve(chosen, HALF_A_DOLLAR))
            for _ in range(turns):
                await asyncio.sleep(0)
            if reserving.cancel():
                await asyncio.wait([reserving])
            else:
                reserved = await reserving
                assert not isinstance(reserved, Refusal)
                reserved.abandon(sent=False)
        assert await month.spent() == 0
