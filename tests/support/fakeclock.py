"""Time that only a test moves: a clock, and an event loop whose timers go by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let seconds pass."""
        self.now += seconds


class FakeClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers fire in its first turn after the clock has reached them."""

    def __init__(self, clock: FakeClock) -> None:
        self._fake_clock = clock
        super().__init__()

    def time(self) -> float:
        """Return the clock's time."""
        return self._fake_clock.now


def run_with_clock(
    main: Callable[[FakeClock], Coroutine[Any, Any, T]],
    *,
    on_problem: Callable[[dict[str, Any]], None] | None = None,
    guarded: bool = False,
) -> T:
    """Run `main` in a new event loop that goes by a new clock, and return what it returns.

    Args:
        main: What to run; it gets the clock.
        on_problem: Is told of exceptions that nobody caught.
        guarded: Whether the loop raises when another thread than its own schedules anything in it.
    """
    clock = FakeClock()
    with asyncio.Runner(debug=guarded, loop_factory=lambda: FakeClockLoop(clock)) as runner:
        loop = runner.get_loop()
        loop.slow_callback_duration = float("inf")  # the clock jumps, which is not slowness
        if on_problem is not None:
            loop.set_exception_handler(lambda _, context: on_problem(context))
        return runner.run(main(clock))
