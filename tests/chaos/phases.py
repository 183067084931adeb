"""A phase: steady load, a fault, recovery; then the history is judged and the bill is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.chaos.callers import EVERYBODY, Ask, Desk, calling
from tests.chaos.cluster import Hurt
from tests.support.history import GARBLED, OK, Call, Summary, problems, summary, wrong_answers
from tests.support.lag import measured_lag
from tests.support.scraping import Sample

CALM_SECONDS: Final = 0.15
HANDLED: Final = "grpc_server_handled_total"
STARTED: Final = "grpc_server_started_total"
TIMES: Final = ("hedge", "failover")
"""Parts of the names of counters that tell of second attempts."""

Fault: TypeAlias = Callable[[Hurt, float], AbstractAsyncContextManager[None]]
"""Hurts a cluster for that many seconds within a block, and has healed it at its end."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    fault: str
    summary: Summary
    again: Counter[str]
    promised: str


ROWS: Final[list[Row]] = []


@dataclass(frozen=True, slots=True)
class Promise:
    """How many calls of patient callers a fault may cost.

    Attributes:
        failures: Most of them.
        share: Most of them, as a share of all calls, where that is more.
        kinds: Which kinds of callers they may be of; empty for any.
        codes: With which codes they may end; empty for any.
        wrong: Most answers that are not right, as a share of all calls.
    """

    failures: int = 0
    share: float = 0.0
    kinds: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    wrong: float = 0.0

    def broken_by(self, found: Summary) -> str:
        """Say how a phase breaks the promise; empty if it keeps it."""
        if found.wrong > self.wrong * found.calls:
            return f"{found.wrong} of {found.calls} answers are not right, {self.wrong:.0%} may be"
        if found.failed > max(self.failures, self.share * found.calls):
            return f"{found.failed} of {found.calls} calls failed, {self.told()} may: {found.told()}"
        for kind, code, _ in found.failures:
            if (self.kinds and kind not in self.kinds) or (self.codes and code not in self.codes):
                return f"a call failed that may not, or not so: {found.told()}"
        return ""

    def told(self) -> str:
        """Return it in words."""
        wrong = f", ≤ {self.wrong:.0%} wrong" if self.wrong else ""
        if not self.failures and not self.share:
            return f"0{wrong}"
        of = f" of {', '.join(sorted(self.kinds))}" if self.kinds else ""
        most = f"{self.share:.0%}" if self.share else f"{self.failures}"
        return f"≤ {most}{of}{wrong}"


NOTHING_LOST: Final = Promise()


async def suffer(
    hurt: Hurt,
    name: str,
    fault: AbstractAsyncContextManager[None],
    promise: Promise = NOTHING_LOST,
    *,
    kinds: Sequence[Ask] = EVERYBODY,
    desk: Desk | None = None,
) -> Summary:
    """Run a phase and check all that must hold after it."""
    history, first = hurt.history, len(hurt.history.calls)
    history.phase = name
    before, logged = await hurt.scrape(), hurt.log_bytes()
    async with measured_lag() as lag:
        async with calling(desk or hurt.desk, kinds):
            await asyncio.sleep(CALM_SECONDS)
            async with fault:
                pass
            await hurt.until_well()
            await asyncio.sleep(CALM_SECONDS)
        lost = lag.seconds
    calls = history.calls[first:]
    found = summary(calls)
    left = await hurt.until_idle()
    after = await hurt.scrape()
    ROWS.append(Row(name, found, _again(before, after), promise.told()))
    bad = problems(calls, lost)
    bad += left and ["gauges of what is under way are not zero:", *left]
    bad += [told] if (told := promise.broken_by(found)) else []
    bad += ["nobody called"] if not calls else []
    bad += ["a provider that costs money was asked"] if hurt.paid.connections else []
    if not promise.wrong:
        bad += [*wrong_answers(calls), *hurt.tracebacks(logged)]
        bad += miscounted(calls, before, after) if desk is None else []
    assert not bad, "\n".join(bad)
    return found


METHODS: Final = {
    "Embed": ("embed", "embed batch", "impatient", "http"),
    "Rerank": ("rerank",),
    "Infer": ("nli",),
    "Classify": ("classify",),
    "Chat": ("chat",),
}
"""Methods, and the kinds of callers that call them."""
UNSURE: Final = frozenset({"DEADLINE_EXCEEDED", "CANCELLED"})
"""Codes that callers give their own calls, whatever the server says of them."""


def miscounted(calls: Sequence[Call], before: Sequence[Sample], after: Sequence[Sample]) -> list[str]:
    """Return where a router's counters and its callers' history disagree.

    No call is counted twice or as both answered and failed; only of calls that ran into their deadline may
    the two sides think differently.
    """
    wrong = []
    for method, kinds in METHODS.items():
        mine = Counter(call.code for call in calls if call.kind in kinds)
        unsure = sum(count for code, count in mine.items() if code in UNSURE)
        started = _delta(before, after, STARTED, method)
        ended = _delta(before, after, HANDLED, method)
        answered = _delta(before, after, HANDLED, method, "OK")
        if started != ended:
            wrong.append(f"{method}: {started} calls began and {ended} ended")
        if not mine.total() - unsure <= ended <= mine.total():
            wrong.append(f"{method}: {mine.total()} calls were made, {unsure} ran out, {ended} ended")
        came = mine[OK] + mine[GARBLED]
        if not came <= answered <= came + unsure:
            wrong.append(f"{method}: {came} answers came, {unsure} ran out, {answered} are counted")
    return wrong


def _delta(before: Sequence[Sample], after: Sequence[Sample], name: str, method: str, code: str = "") -> int:
    def total(samples: Sequence[Sample]) -> float:
        return sum(
            sample.value
            for sample in samples
            if sample.name == name
            and sample.labels.get("grpc_method") == method
            and code in {"", sample.labels.get("grpc_code")}
        )

    return int(total(after) - total(before))


def _again(before: Sequence[Sample], after: Sequence[Sample]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for samples, sign in ((before, -1), (after, 1)):
        for sample in samples:
            if sample.name.endswith("_total") and any(part in sample.name for part in TIMES):
                kind = next(part for part in TIMES if part in sample.name)
                counts[kind] += sign * int(sample.value)
    return counts


HEADS: Final = (
    "fault", "calls", "out of time", "failed", "wrong", "promised", "with", "hedges", "failovers", "p99",
    "from cache",
)  # fmt: skip


def table() -> list[str]:
    """Return what the faults have cost, as a table in Markdown."""
    lines = [HEADS, ["---"] * len(HEADS), *map(_cells, ROWS)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(row: Row) -> list[str]:
    found = row.summary
    codes = Counter[str]()
    for (kind, code, _), count in found.failures.items():
        codes[f"{code} ({kind})"] += count
    numbers = (found.calls, found.impatient, found.failed, found.wrong)
    return [
        row.fault,
        *map(str, numbers),
        row.promised,
        ", ".join(f"{count} {code}" for code, count in codes.most_common()) or "—",
        str(row.again["hedge"]),
        str(row.again["failover"]),
        f"{found.p99_seconds * 1000:.0f} ms",
        f"{found.cached_inputs / found.sent if found.sent else 0.0:.0%}",
    ]


@asynccontextmanager
async def for_a_while(seconds: float) -> AsyncIterator[None]:
    """Hurt nothing for a while."""
    await asyncio.sleep(seconds)
    yield
