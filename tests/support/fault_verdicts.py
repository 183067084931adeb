"""What became of the scenarios: verdicts, as Failover Bench gives them, and the table of them.

pass: the caller got the whole answer, or the error that is right, and everything that should hold does.
partial: it did, but something advisory does not hold. safe: it did not, but was told so by a clean error.
fail: something that has to hold does not, or part of an answer was called whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tests.support.fault_chat import LIMIT_SECONDS, Seen, Stage, chat, chat_without_chance, complete, staged
from tests.support.fault_scenarios import SCENARIOS, WORDS, Outage, Run, Scenario

if TYPE_CHECKING:
    from inglenook.chat.v1.chat_pb2_grpc import ChatServiceAsyncStub  # exists for type checkers only

Verdict = Literal["pass", "partial", "safe", "fail"]
VERDICTS: Final[Sequence[Verdict]] = ("pass", "partial", "safe", "fail")

Way: TypeAlias = "Callable[[ChatServiceAsyncStub, str], Awaitable[Seen]]"
WAYS: Final[Mapping[str, Way]] = {
    "Chat": chat,
    "Chat, temperature 0": chat_without_chance,
    "Complete": complete,
}

MOST_TIMES: Final = 6
SLACK_SECONDS: Final = 1.0
"""How much later than due something may be on a busy machine."""


@dataclass(frozen=True)
class Result:
    """What became of one scenario.

    Attributes:
        name, title: The scenario's.
        way: The method that was called.
        verdict: See above.
        missed: Checks that do not hold.
        saw: What the caller saw.
        primary, fallback: When the stand-ins were asked, in seconds from the beginning.
        seconds: How long it took.
    """

    name: str
    title: str
    way: str
    verdict: Verdict
    missed: Sequence[str]
    saw: str
    primary: Sequence[float]
    fallback: Sequence[float]
    seconds: float


async def played(folder: Path, scenario: Scenario, way: str) -> Result:
    """Run a scenario once."""
    async with staged(folder, scenario.plot()) as stage:
        seen = await WAYS[way](stage.stub, "assistant")
        primary, fallback = list(stage.primary.received), list(stage.fallback.received)
        alive = (await WAYS[way](stage.stub, "spare")).text == "".join(WORDS)
        stage.primary.received[:], stage.fallback.received[:] = primary, fallback
        run = Run(seen, stage.primary, stage.fallback, alive)
        missed = [check for check in scenario.checks if not check.holds(run)]
        required = [check.name for check in missed if not check.advisory]
        return Result(
            scenario.name,
            scenario.title,
            way,
            _verdict(scenario, run, required, advisory=len(missed) > len(required)),
            [check.name for check in missed],
            _told(seen),
            run.attempts(stage.primary),
            run.attempts(stage.fallback),
            seen.seconds,
        )


def _verdict(scenario: Scenario, run: Run, required: Sequence[str], *, advisory: bool) -> Verdict:
    if required or run.seen.seconds >= LIMIT_SECONDS or (run.seen.is_complete and not run.is_whole):
        return "fail"
    if run.is_clean_error if scenario.wants_error else run.is_whole:
        return "partial" if advisory else "pass"
    if scenario.wants_error and run.is_whole:
        return "partial"
    return "safe" if run.is_clean_error else "fail"


def _told(seen: Seen) -> str:
    tokens = seen.text.count("word")
    if seen.failure is None:
        return f"{tokens} tokens from {seen.provider}"
    after = f" after {tokens} tokens" if tokens else ""
    return f"{seen.failure.code.name} {seen.failure.reason}{after}"


async def played_outage(folder: Path, way: str) -> Result:
    """Run S15: calls go on while the first target is down and after it."""
    outage = Outage()
    async with staged(folder, outage.plot()) as stage:
        outage.began_at = began_at = time.monotonic()
        calls = []
        for number in range(outage.calls):
            await asyncio.sleep(max(0.0, began_at + number * outage.interval - time.monotonic()))
            calls.append(await WAYS[way](stage.stub, "assistant"))
        return _judged_outage(outage, stage, calls, way)


def _judged_outage(outage: Outage, stage: Stage, calls: Sequence[Seen], way: str) -> Result:
    served = [one for one in calls if one.is_complete and one.text == WORDS[0]]
    back = [one.began_at - outage.ends_at for one in served if one.provider == "primary"]
    probes = [one.arrived_at - outage.began_at for one in stage.primary.received]
    in_vain = [one for one in probes if one < outage.seconds]
    missed = []
    if len(served) < len(calls):
        missed.append("serves every call")
    if not back or min(back) > outage.longest_probe_interval + outage.interval + SLACK_SECONDS:
        missed.append("is back on the first target within one probe interval")
    # Two retries before the ejection; after it one probe at a time, at least so far apart.
    if any(later - earlier < 0.9 * outage.probe_interval for earlier, later in pairwise(in_vain[2:])):
        missed.append("probes one at a time")
    return Result(
        "S15",
        "first target down for a while",
        way,
        "fail" if missed else "pass",
        missed,
        f"{len(served)} of {len(calls)} served, back after {min(back, default=-1.0):.1f} s",
        probes,
        [one.arrived_at - outage.began_at for one in stage.fallback.received],
        calls[-1].began_at + calls[-1].seconds - outage.began_at,
    )


async def all_played(folder: Path, way: str) -> list[Result]:
    """Run all sixteen, one after the other."""
    results = [await played(folder, scenario, way) for scenario in SCENARIOS]
    results.append(await played_outage(folder, way))
    return sorted(results, key=lambda result: result.name)


def table(results: Sequence[Result]) -> str:
    """Return the verdicts as Markdown, and their sums."""
    lines = [
        "| | fault | method | verdict | the caller sees | first target asked at s | second | took s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in sorted(results, key=lambda result: (result.name, result.way)):
        missed = f" ({'; '.join(one.missed)})" if one.missed else ""
        lines.append(
            f"| {one.name} | {one.title} | {one.way} | {one.verdict}{missed} | {one.saw} "
            f"| {_times(one.primary)} | {_times(one.fallback)} | {one.seconds:.2f} |"
        )
    for way in WAYS:
        counts = dict.fromkeys(VERDICTS, 0)
        for one in results:
            counts[one.verdict] += one.way == way
        lines += ["", f"{way}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())]
    return "\n".join(lines) + "\n"


def _times(times: Sequence[float]) -> str:
    told = " ".join(f"{one:.2f}" for one in times[:MOST_TIMES])
    return f"{told} … ({len(times)})" if len(times) > MOST_TIMES else told
