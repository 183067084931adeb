"""The ledger of what was spent, in files, and shared by processes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
from pathlib import Path

import pytest

from services.chat.answer import Usage
from services.chat.answering.meter import Refusal
from services.chat.money.budget import Budget
from services.chat.money.ledger import Account, Ledger, LedgerUnavailable, OverLimit
from services.config import load
from tests.support.priced import dollar_target, question, target

ACCOUNT = Account("2027-01", "somebody", "m")
PROCESSES = 4
BOOKINGS = 50


def booked(path: Path) -> list[tuple[str, str, str, int]]:
    """Return what the file says."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT * FROM spending").fetchall()
    finally:
        connection.close()


async def test_spending_outlives_a_restart(tmp_path: Path) -> None:
    """Written down when the ledger is closed, and found by the next one; the folder is made."""
    path = tmp_path / "new" / "spending.sqlite3"
    first = Ledger(str(path))
    await first.book(ACCOUNT, 5)
    first.book_later(ACCOUNT, -2)
    await first.aclose()
    assert booked(path) == [("2027-01", "somebody", "m", 3)]
    second = Ledger(str(path))
    assert await second.book(Account("2027-01", "other", "m"), 4) == 7
    assert await second.book(Account("2027-02", "other", "m"), 1) == 1
    with pytest.raises(OverLimit):
        await second.book(ACCOUNT, 4, 10)
    assert await second.book(ACCOUNT, 3, 10) == 10
    await second.aclose()


async def test_processes_that_share_a_ledger_share_the_limit(tmp_path: Path) -> None:
    """Each adds as often as it is let; together they reach the limit and do not exceed it."""
    path = tmp_path / "spending.sqlite3"
    limit = PROCESSES * BOOKINGS // 2
    program = f"""
import asyncio, sys
from services.chat.money.ledger import Account, Ledger, OverLimit
async def main():
    ledger = Ledger({str(path)!r})
    for _ in range({BOOKINGS}):
        try:
            await ledger.book(Account("2027-01", "somebody", "m"), 1, {limit})
        except OverLimit:
            pass
    await ledger.aclose()
asyncio.run(main())
"""
    running = [await asyncio.create_subprocess_exec(sys.executable, "-c", program) for _ in range(PROCESSES)]
    assert await asyncio.gather(*(process.wait() for process in running)) == [0] * PROCESSES
    assert booked(path) == [("2027-01", "somebody", "m", limit)]


async def test_call_that_is_cancelled_just_when_it_was_booked_leaves_nothing_booked(tmp_path: Path) -> None:
    """The loop has not heard of the booking yet, and the file has it: somebody has to take it back."""
    path = tmp_path / "spending.sqlite3"
    ledger = Ledger(str(path))
    await ledger.book(ACCOUNT, 1)
    booking = asyncio.create_task(ledger.book(ACCOUNT, 5))
    await asyncio.sleep(0)
    ledger.book_later(Account("2027-01", "later", "m"), 1)
    while len(booked(path)) < 2:
        pass  # the loop must not turn: once the later one is there, the one before it is over
    booking.cancel()
    await asyncio.wait([booking])
    assert booking.cancelled()
    await ledger.aclose()
    assert {account: nano_usd for _, account, _, nano_usd in booked(path)} == {"somebody": 1, "later": 1}


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100])
async def test_ledger_that_cannot_be_written_refuses_paid_calls_only(tmp_path: Path, content: bytes) -> None:
    """Money that is not counted is not spent; what is free needs no counting."""
    path = tmp_path / "spending.sqlite3"
    if content:
        path.write_bytes(content)
    else:
        path.mkdir()
    for monthly_usd in (None, 10.0):
        budget = Budget(monthly_usd, Ledger(str(path)))
        refusal = await budget.reserve(dollar_target(), question())
        assert isinstance(refusal, Refusal)
        assert "ledger" in refusal.message
        assert str(tmp_path) not in refusal.message
        assert refusal.retry_after_seconds is not None
        assert not isinstance(await budget.reserve(target(paid=False), question()), Refusal)
        await budget.aclose()


async def test_ledger_is_used_again_once_it_can_be_written(tmp_path: Path) -> None:
    """Whoever mends it need not restart anything."""
    path = tmp_path / "spending.sqlite3"
    path.mkdir()
    ledger = Ledger(str(path))
    with pytest.raises(LedgerUnavailable):
        await ledger.book(ACCOUNT, 1)
    path.rmdir()
    assert await ledger.book(ACCOUNT, 1) == 1
    await ledger.aclose()


async def test_correction_that_cannot_be_written_is_logged_and_leaves_the_larger_amount(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call has been answered; what was put aside for it stays booked, which is on the safe side."""
    path = tmp_path / "spending.sqlite3"
    budget = Budget(10.0, Ledger(str(path)))
    reservation = await budget.reserve(dollar_target(), question())
    assert not isinstance(reservation, Refusal)
    (before,) = booked(path)
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE spending RENAME TO gone")
    caplog.set_level(logging.ERROR)
    assert reservation.settle(Usage(1, 1)) == 1_001_000
    await budget.aclose()
    connection.execute("ALTER TABLE gone RENAME TO spending")
    connection.close()
    assert booked(path) == [before]
    assert [record.message for record in caplog.records] == ["spending could not be booked"]


async def test_ledger_of_the_configuration_lies_beside_it(tmp_path: Path) -> None:
    """Relative paths start at the configuration file; nothing is made before the first paid call."""
    config = tmp_path / "inglenook.toml"
    config.write_text('[paid]\nledger = "money/ledger.sqlite3"\n')
    file = load(config)
    budget = Budget.of(file)
    await budget.reserve(target(paid=False), question())
    assert not (tmp_path / "money").exists()
    await budget.reserve(dollar_target(), question())
    await budget.aclose()
    assert (tmp_path / "money" / "ledger.sqlite3").exists()


async def test_ledger_is_in_the_state_folder_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where things are kept that cannot be made again."""
    monkeypatch.setenv("INGLENOOK_STATE", str(tmp_path / "state"))
    config = tmp_path / "inglenook.toml"
    config.write_text("[paid]\nenabled = true\n")
    budget = Budget.of(load(config))
    await budget.reserve(dollar_target(), question())
    await budget.aclose()
    assert (tmp_path / "state" / "spending.sqlite3").exists()


async def test_ledger_needs_no_place_where_nothing_may_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without a home directory can run what is free; to spend money he has to say where it is kept."""
    monkeypatch.delenv("INGLENOOK_STATE", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it is where there is no such user
    config = tmp_path / "inglenook.toml"
    config.write_text("")
    budget = Budget.of(load(config))
    assert not isinstance(await budget.reserve(target(paid=False), question()), Refusal)
    await budget.aclose()
    config.write_text("[paid]\nenabled = true\n")
    with pytest.raises(RuntimeError, match="INGLENOOK_STATE"):
        Budget.of(load(config))
