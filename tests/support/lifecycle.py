"""Models that come and go as a test says: a loader with gates, and memory that only its models take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from services.config import Capability, EmbedModel
from services.inference.lifecycle import LifecycleEvent, LifecycleSettings, ModelFacts, Registry

LIMIT_SECONDS: Final = 10
"""Far longer than anything here takes, so that only a failure reaches it."""

MEGABYTE: Final = 1_000_000
BASE_BYTES: Final = 20 * MEGABYTE
"""What the process has without any model."""

FACTS: Final = ModelFacts(
    fingerprint="f" * 64,
    architecture="bert",
    precision="fp32",
    execution_provider="cpu",
    pooling="mean",
    dimensions=4,
    max_input_tokens=64,
)


SOURCE: Final = "dir:somewhere"


def section(source: str = SOURCE, **settings: Any) -> EmbedModel:
    """Return a model's section."""
    return EmbedModel(capability="embed", source=source, **settings)


def sections_of(*models: str) -> dict[str, EmbedModel]:
    """Return sections by name; `a@2` is the model `a` from its second source."""
    parted = (model.partition("@") for model in models)
    return {name: section(f"dir:{version}" if version else SOURCE) for name, _, version in parted}


async def turns() -> None:
    """Let every task of the event loop go as far as it can without other threads."""
    for _ in range(20):
        await asyncio.sleep(0)


async def settle() -> None:
    """Let every task go as far as it can, with the short work that it does in threads."""
    for _ in range(10):
        await turns()
        await asyncio.to_thread(int)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while not holds():
            await turns()


class Accounts:
    """The memory of a process in which only models take any.

    Attributes:
        held: Bytes by who has them.
        most: The most that there ever was, in bytes.
        releases: How often what was freed was given back to the system.
    """

    def __init__(self) -> None:
        self.held = {"base": BASE_BYTES}
        self.most = BASE_BYTES
        self.releases = 0

    def resident(self) -> int:
        """Return what the process has."""
        return sum(list(self.held.values()))

    def take(self, name: str, count: int) -> None:
        """Have more."""
        self.held[name] = count
        self.most = max(self.most, self.resident())

    def release(self) -> None:
        """Note that what was freed was given back."""
        self.releases += 1


class StubModel:
    """Counts characters, and a number that tells it from other models. Satisfies `lifecycle.LoadedModel`.

    Attributes:
        is_open: Whether it was not closed yet.
    """

    max_input_tokens = FACTS.max_input_tokens
    queue_size = 0
    utilization = 0.0

    def __init__(self, mark: int, on_close: Callable[[], None]) -> None:
        self.is_open = True
        self._mark = mark
        self._on_close = on_close

    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the characters of each text plus the model's mark."""
        assert self.is_open, "a model is used after it was closed"
        await asyncio.sleep(0)
        assert self.is_open, "a model was closed while it was used"
        return [len(text) + self._mark for text in inputs]

    async def close(self) -> None:
        """Give the memory back."""
        assert self.is_open, "a model is closed twice"
        self.is_open = False
        self._on_close()


class Loads:
    """Loads models when its gates are opened. Satisfies `lifecycle.Loader`.

    Attributes:
        accounts: The memory that models take.
        steps: What was begun, in order, as in `prepare a` and `open a`; and `close a`.
        gates: By step: it waits for its gate. Without one it does not wait.
        problems: By step: what the next one fails with.
        needs: By name: memory in bytes; else 30 MB.
        weights: By name: weights in bytes; else such that a model is estimated at what it needs.
        seconds: How long opening takes, in seconds of the event loop's clock.
        models: The last model of each name.
        reports: By name: what tells the progress of its last load.
    """

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.steps: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.problems: dict[str, BaseException] = {}
        self.needs: dict[str, int] = {}
        self.weights: dict[str, int] = {}
        self.seconds = 0.0
        self.models: dict[str, StubModel] = {}
        self.reports: dict[str, Callable[[str], None]] = {}

    def gate(self, *steps: str) -> None:
        """Hold steps until `open` is called for them."""
        self.gates |= {step: asyncio.Event() for step in steps}

    def open(self, *steps: str) -> None:
        """Let steps go on."""
        for step in steps:
            self.gates.pop(step).set()

    async def prepare(self, name: str, section: EmbedModel, report: Callable[[str], None]) -> StubPrepared:
        """Take the first step."""
        self.reports[name] = report
        model = name if section.source == SOURCE else f"{name}@{section.source.removeprefix('dir:')}"
        await self.step(f"prepare {model}")
        return StubPrepared(self, model)

    async def step(self, step: str) -> None:
        """Do what the test says of a step."""
        self.steps.append(step)
        if step in self.gates:
            await self.gates[step].wait()
        if step in self.problems:
            raise self.problems.pop(step)

    def need(self, name: str) -> int:
        """Return how much memory a model takes."""
        return self.needs.get(name, 30 * MEGABYTE)


class StubPrepared:
    """A model that is about to be opened. Satisfies `lifecycle.Prepared`."""

    facts = FACTS

    def __init__(self, loads: Loads, name: str) -> None:
        self._loads = loads
        self._name = name

    @property
    def weight_bytes(self) -> int:
        """What it is estimated by."""
        return self._loads.weights.get(self._name, int(self._loads.need(self._name) / 2.5))

    async def open(self) -> StubModel:
        """Take the second step, and memory."""
        loads, name = self._loads, self._name
        await loads.step(f"open {name}")
        if loads.seconds:
            await asyncio.sleep(loads.seconds)
        assert name not in loads.accounts.held, "a model is in memory twice"
        loads.accounts.take(name, loads.need(name))

        def on_close() -> None:
            loads.steps.append(f"close {name}")
            del loads.accounts.held[name]

        model = loads.models[name] = StubModel(mark_of(name), on_close)
        return model


def mark_of(name: str) -> int:
    """Return the number that a model's answers can be told by; `a@2` is another than `a`."""
    _, _, version = name.partition("@")
    return 1000 * ord(name[0]) + 10 * int(version or 0)


class House:
    """A registry over a loader with gates, and what was told of it.

    Args:
        names: Names of its models, all alike but for their sources: `a@2`.
        sections: Models with sections of their own.
        elsewhere: Models of other services.
        clock: What time it is; None for the machine's clock.
        on_event: Is told of what is observed, too.
        settings: By which rules models come and go.

    Attributes:
        loads: The loader.
        changes: States of all models after each change, as in `ready available`.
        events: What was observed.
        registry: The registry.
    """

    def __init__(
        self,
        *names: str,
        sections: Mapping[str, EmbedModel] | None = None,
        elsewhere: Mapping[str, Capability] | None = None,
        clock: Callable[[], float] | None = None,
        on_event: Callable[[LifecycleEvent], object] = str,
        **settings: Any,
    ) -> None:
        self.loads = Loads()
        self.changes: list[str] = []
        self.events: list[LifecycleEvent] = []
        self._on_event = on_event
        self.registry: Registry[StubModel] = Registry(
            {**sections_of(*names), **(sections or {})},
            self.loads,
            self._changed,
            settings=LifecycleSettings(**settings),
            elsewhere=elsewhere or {},
            observe=self._observe,
            memory=self.loads.accounts.resident,
            release=self.loads.accounts.release,
            clock=clock or time.monotonic,
        )

    @property
    def states(self) -> str:
        """The states of all models, in their order."""
        return " ".join(status.state for status in self.registry.statuses())

    def reconfigure(
        self,
        *models: str,
        sections: Mapping[str, EmbedModel] | None = None,
        elsewhere: Mapping[str, Capability] | None = None,
        **settings: Any,
    ) -> None:
        """Have other models, as in `a@2`."""
        self.registry.reconfigure(
            {**sections_of(*models), **(sections or {})},
            self.loads,
            settings=LifecycleSettings(**settings),
            elsewhere=elsewhere or {},
        )

    async def ask(self, name: str, deadline: float | None = None) -> int:
        """Call a model and return its answer to a text of three characters."""
        async with self.registry.use(name, deadline) as model:
            return (await model.count_tokens(["cat"]))[0]

    async def hold(self, name: str, gate: asyncio.Event) -> int:
        """Use a model until a gate opens, and return its answer."""
        async with self.registry.use(name) as model:
            await gate.wait()
            return (await model.count_tokens(["cat"]))[0]

    async def close(self) -> None:
        """Close the registry, which must not hang."""
        async with asyncio.timeout(LIMIT_SECONDS):
            await self.registry.close()

    def _observe(self, event: LifecycleEvent) -> None:
        self.events.append(event)
        self._on_event(event)

    async def _changed(self) -> None:
        self.changes.append(self.states)


def right_answer(name: str) -> int:
    """Return what `House.ask` gets from a model."""
    return len("cat") + mark_of(name)
