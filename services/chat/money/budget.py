"""Spends no more than was allowed.

Before a call is made, the most that it may cost is booked as if it were spent; when it has ended, the booking
is corrected to what it did cost. So calls that run at the same time cannot exceed the budget together, in
however many processes that share a ledger, and what a process had under way when it died stays booked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from services.chat.answer import Usage
from services.chat.answering.meter import Refusal, Reservation
from services.chat.answering.target import Target
from services.chat.conversation import Conversation
from services.chat.money.estimate import most_tokens
from services.chat.money.ledger import IN_MEMORY, Account, Ledger, LedgerUnavailable, OverLimit
from services.chat.money.prices import NANO, Prices
from services.config import ConfigurationFile, environment

LEDGER: Final = "spending.sqlite3"
LEDGER_SECONDS: Final = 5.0
"""When to try again after the ledger could not be written."""
SHORTLY_SECONDS: Final = 1.0
"""When to try again while calls that are under way hold what is left."""
DECEMBER: Final = 12
UNKNOWN_PRICE: Final = (
    "its price is not known, and there is a monthly budget; set input_usd and output_usd for the target"
)

log: Final = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Budget:
    """Spends at most so much per calendar month (UTC). Satisfies `answering.meter.Meter`.

    Args:
        monthly_usd: How much, in US dollars; None is no limit, and spending is only written down.
        ledger: Where it is written down. If it cannot be, no paid call is made.
        now: Tells the time.

    Attributes:
        under_way: What is booked by this process for attempts that have not ended.
    """

    def __init__(
        self, monthly_usd: float | None, ledger: Ledger, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.limit(monthly_usd)
        self._ledger = ledger
        self._now = now
        self._prices = Prices()
        self.under_way = 0

    def limit(self, monthly_usd: float | None) -> None:
        """Spend no more than so much from now on; attempts that are under way count as before."""
        self._limit = None if monthly_usd is None else int(Decimal(str(monthly_usd)) * NANO)

    @classmethod
    def of(cls, file: ConfigurationFile, before: Budget | None = None) -> Budget:
        """Return the budget that a configuration sets. Nothing is opened before the first paid call.

        If its ledger is that of `before`, it is `before`, still with its limit; else two would count apart.

        Raises:
            RuntimeError: Paid calls are allowed, and there is no place for the ledger; the message says why.
        """
        paid = file.configuration.paid
        if paid.ledger:
            path = str(file.path.parent / Path(paid.ledger).expanduser())
        elif paid.enabled:
            path = str(environment.state_directory() / LEDGER)
        else:
            path = IN_MEMORY  # there will be nothing to keep, and there may be no home directory
        if before is not None and before._ledger.path == path:
            return before
        return cls(paid.monthly_budget_usd, Ledger(path))

    async def reserve(self, target: Target, conversation: Conversation) -> Reservation | Refusal:
        """Put aside the most that an attempt may cost; for a target that costs nothing always possible."""
        if not target.is_paid:
            return Free(self._prices, target)
        await self._prices.prepare(target)
        amount = 0 if self._limit is None else self._most(target, conversation)
        if amount is None:
            return Refusal(UNKNOWN_PRICE)
        now = self._now()
        account = Account(f"{now:%Y-%m}", target.provider.name, target.upstream_model)
        try:
            await self._ledger.book(account, amount, self._limit)
        except LedgerUnavailable as error:
            log.error("no paid calls", extra={"error": str(error)})  # noqa: TRY400  # the message says it all
            return Refusal(str(error), LEDGER_SECONDS)
        except OverLimit as error:
            return self._refusal(amount, error.booked, now)
        return Booked(self, target, account, amount)

    def correct(self, account: Account, nano_usd: int) -> None:
        """Add to what is booked, or take away from it."""
        if nano_usd:
            self._ledger.book_later(account, nano_usd)

    def cost(self, target: Target, usage: Usage) -> int | None:
        """Return what a call costs; see `Prices.cost`."""
        return self._prices.cost(target, usage)

    async def aclose(self) -> None:
        """Write down what is left to be."""
        await self._ledger.aclose()

    def _most(self, target: Target, conversation: Conversation) -> int | None:
        """Return the most that an attempt may cost: writing all of the input to a cache may be dearer."""
        plain = most_tokens(conversation)
        kept = replace(plain, cache_write_input_tokens=plain.input_tokens)
        costs = [self._prices.cost(target, usage) for usage in (plain, kept)]
        known = [cost for cost in costs if cost is not None]
        return max(known) if len(known) == len(costs) else None

    def _refusal(self, amount: int, booked: int, now: datetime) -> Refusal:
        limit = self._limit or 0
        told = f"it may cost {_usd(amount)}, and {_usd(limit - booked)} of {_usd(limit)} a month are left"
        if amount > limit:
            return Refusal(f"{told}; a smaller max_output_tokens makes that less")
        if booked - self.under_way + amount <= limit:
            return Refusal(f"{told} while other calls are under way", SHORTLY_SECONDS)
        return Refusal(told, _until_next_month(now))


class Free:
    """Nothing put aside, for a target that costs nothing."""

    def __init__(self, prices: Prices, target: Target) -> None:
        self._prices = prices
        self._target = target

    def settle(self, usage: Usage) -> int | None:
        """Return the cost: none, unless the target has turned out to be a paid one in the meantime."""
        return self._prices.cost(self._target, usage)

    def abandon(self, *, sent: bool) -> int | None:
        """Return that it cost nothing."""
        del sent
        return 0


class Booked:
    """An amount that is booked for an attempt until it is known what it did cost."""

    def __init__(self, budget: Budget, target: Target, account: Account, nano_usd: int) -> None:
        self._budget = budget
        self._target = target
        self._account = account
        self._amount = nano_usd
        budget.under_way += nano_usd

    def settle(self, usage: Usage) -> int | None:
        """Correct the booking to what was used; if that is not known, it stays."""
        cost = self._budget.cost(self._target, usage)
        self._end(self._amount if cost is None else cost)
        return cost

    def abandon(self, *, sent: bool) -> int | None:
        """Take the booking back if nothing was sent; if something was, it stays."""
        self._end(self._amount if sent else 0)
        return None if sent else 0

    def _end(self, nano_usd: int) -> None:
        self._budget.under_way -= self._amount
        self._budget.correct(self._account, nano_usd - self._amount)


def _usd(nano_usd: int) -> str:
    return f"${max(nano_usd, 0) / NANO:.4f}"


def _until_next_month(now: datetime) -> float:
    year, month = (now.year + 1, 1) if now.month == DECEMBER else (now.year, now.month + 1)
    return (datetime(year, month, 1, tzinfo=UTC) - now).total_seconds()
