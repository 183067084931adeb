"""Models that nobody calls any more."""

from __future__ import annotations

import asyncio

from services.inference.lifecycle import LifecycleEvent
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.lifecycle import House, right_answer, section, settle, until


def test_model_goes_when_nobody_has_called_it_for_too_long() -> None:
    """Counted from its last use, by itself, and the next call brings it back."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock, idle_unload_seconds=60.0)
        await house.ask("a")
        clock.advance(40.0)
        await settle()
        await house.ask("a")
        clock.advance(59.0)
        await settle()
        assert house.states == "ready"
        clock.advance(2.0)
        await until(lambda: house.states == "available")
        assert house.events[-1] == LifecycleEvent("unloaded", "a", "idle")

        assert await house.ask("a") == right_answer("a")
        clock.advance(61.0)
        await until(lambda: house.states == "available")
        await house.close()

    run_with_clock(main)


def test_model_that_was_loaded_and_never_called_goes_too() -> None:
    """It takes memory like any other."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock, idle_unload_seconds=60.0)
        await house.registry.load("a")
        clock.advance(59.0)
        await house.registry.sweep()
        assert house.states == "ready"
        clock.advance(2.0)
        await house.registry.sweep()
        assert house.states == "available"
        await house.close()

    run_with_clock(main)


def test_model_that_is_in_use_does_not_go() -> None:
    """However long the call takes; the time counts from its end."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock, idle_unload_seconds=60.0)
        gate = asyncio.Event()
        call = asyncio.create_task(house.hold("a", gate))
        await until(lambda: house.states == "ready")
        clock.advance(500.0)
        await settle()
        await house.registry.sweep()
        assert house.states == "ready"
        gate.set()
        await call
        clock.advance(59.0)
        await house.registry.sweep()
        assert house.states == "ready"
        clock.advance(2.0)
        await house.registry.sweep()
        assert house.states == "available"
        await house.close()

    run_with_clock(main)


def test_section_of_a_model_says_more_than_the_engine() -> None:
    """One that comes in later may be due sooner."""

    async def main(clock: FakeClock) -> None:
        sections = {"long": section(), "short": section(idle_unload_seconds=5.0)}
        house = House(sections=sections, clock=clock, idle_unload_seconds=60.0)
        await house.ask("long")
        await settle()
        await house.ask("short")
        await settle()
        clock.advance(6.0)
        await until(lambda: house.states == "ready available")
        await settle()  # the watch has looked at the clock again
        clock.advance(60.0)
        await until(lambda: house.states == "available available")
        await house.close()

    run_with_clock(main)


def test_without_a_limit_models_stay() -> None:
    """0 stands for never."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock)
        await house.ask("a")
        clock.advance(1e6)
        await settle()
        await house.registry.sweep()
        assert house.states == "ready"
        await house.close()

    run_with_clock(main)
