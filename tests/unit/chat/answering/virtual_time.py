"""Time that jumps: whenever everything waits, it is at once the moment that something waits for."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from tests.support.fakeclock import FakeClock


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits, and nothing will ever happen"
        self._clock.advance(max(0.0, timeout))
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._fake_clock = FakeClock()
        super().__init__(_Selector(self._fake_clock))

    def time(self) -> float:
        """Return the clock's time."""
        return self._fake_clock.now


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop whose time jumps. Waiting for an hour takes no time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now() -> float:
    """Return the time."""
    return asyncio.get_running_loop().time()
