"""What has been spent, by month, in a small SQLite file, so that a restart forgets nothing.

Processes on one machine may share the file: it alone says how much is left, and amounts are added under its
lock. A thread of its own does all the work, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IN_MEMORY: Final = ":memory:"
"""A path that keeps nothing."""
LOCK_SECONDS: Final = 5.0
"""How long to wait for another process that is writing."""
BUSY_SECONDS: Final = 0.01
"""How long to wait before asking again where SQLite does not wait by itself."""

CREATE: Final = """
    CREATE TABLE IF NOT EXISTS spending (
        month TEXT NOT NULL, provider TEXT NOT NULL, upstream_model TEXT NOT NULL, nano_usd INTEGER NOT NULL,
        PRIMARY KEY (month, provider, upstream_model)
    ) WITHOUT ROWID
"""
TOTAL: Final = "SELECT COALESCE(SUM(nano_usd), 0) FROM spending WHERE month = ?"
ADD: Final = """
    INSERT INTO spending VALUES (?, ?, ?, ?)
    ON CONFLICT (month, provider, upstream_model) DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd
"""

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """What an amount is booked under; `month` as in `2027-01`, in UTC."""

    month: str
    provider: str
    upstream_model: str


class LedgerUnavailable(Exception):
    """The file cannot be read or written. The message says why, without a path."""


class OverLimit(Exception):
    """The amount would exceed the limit; nothing was booked.

    Attributes:
        booked: What is booked for the month, in billionths of a US dollar.
    """

    def __init__(self, booked: int) -> None:
        super().__init__("the amount would exceed the limit")
        self.booked = booked


class Ledger:
    """Adds up spending. The file is opened, and made if need be, by the first amount.

    Args:
        path: The file; its folder is made if need be.

    Attributes:
        path: As given.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def book(self, account: Account, nano_usd: int, limit: int | None = None) -> int:
        """Add an amount, unless the month's total would then exceed `limit`; None is no limit.

        A caller that is cancelled leaves nothing booked.

        Returns:
            What is booked for the month now, over all accounts.

        Raises:
            OverLimit: The limit would be exceeded.
            LedgerUnavailable: The file cannot be read or written.
        """
        booking = self._thread.submit(self._add, account, nano_usd, limit)
        try:
            return await asyncio.wrap_future(booking)
        except asyncio.CancelledError:
            # In the ledger's own thread, which does one thing after another: there the booking is over.
            self._thread.submit(self._take_back, booking, account, nano_usd).add_done_callback(_report)
            raise

    def book_later(self, account: Account, nano_usd: int) -> None:
        """Add an amount when it suits; what cannot be written is logged and stays as it was."""
        self._thread.submit(self._add, account, nano_usd, None).add_done_callback(_report)

    async def aclose(self) -> None:
        """Write what is to be written and close the file."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(closing)

    def _take_back(self, booking: Future[int], account: Account, nano_usd: int) -> None:
        """Undo a booking that nobody waited for."""
        if not booking.cancelled() and booking.exception() is None:
            self._add(account, -nano_usd, None)

    def _add(self, account: Account, nano_usd: int, limit: int | None) -> int:
        with self._transaction() as connection:
            (booked,) = connection.execute(TOTAL, (account.month,)).fetchone()
            if limit is not None and booked + nano_usd > limit:
                raise OverLimit(booked)
            connection.execute(ADD, (account.month, account.provider, account.upstream_model, nano_usd))
            return int(booked) + nano_usd

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Lock the file, and keep what is done if nothing is raised.

        A connection that has failed is not used again: the file may be another one by now.
        """
        try:
            connection = self._connection = self._connection or self._open()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            self._close()
            code = getattr(error, "sqlite_errorname", None) or getattr(error, "strerror", None) or "no file"
            message = f"the ledger of what was spent cannot be written ({code}); see paid.ledger"
            raise LedgerUnavailable(message) from error

    def _open(self) -> sqlite3.Connection:
        if self.path != IN_MEMORY:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
        try:
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(CREATE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Have the file written ahead. Of several processes that do so at a time, SQLite turns some away."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_SECONDS)  # in the ledger's own thread
        else:
            return


def _report(booking: Future[int] | Future[None]) -> None:
    if (error := booking.exception()) is not None:
        log.error("spending could not be booked", extra={"error": str(error)})
