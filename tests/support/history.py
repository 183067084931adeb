"""A history of calls: what was asked, what came of it and when, and the one judge of whether that was right.

Callers write down each call as it begins and as it ends. Nothing is judged meanwhile; `problems` reads the
whole of it afterwards.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

OK: Final = "OK"
GARBLED: Final = "GARBLED"
"""The code of a call whose answer came and could not be read."""
SLACK_SECONDS: Final = 0.1
"""How long after its deadline a call may end at most, on a machine that is never late."""
MOST_TOLD: Final = 12


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        number: Its place in the history.
        kind: Which kind of caller made it.
        phase: What was being done to the cluster.
        deadline_seconds: How long its caller waits.
        sent: The items that were sent, in order.
        began: When, by `time.monotonic`.
        ended: When.
        ends: How often it has ended.
        code: Status code, or what else it ended with.
        reason: The reason that the error names, and its message.
        cached_inputs: How many items came from the cache.
        wrong: What is wrong with the answer; empty if nothing is.
    """

    number: int
    kind: str
    phase: str
    deadline_seconds: float
    sent: Sequence[str]
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    ends: int = 0
    code: str = ""
    reason: str = ""
    cached_inputs: int = 0
    wrong: str = ""

    def end(self, code: str, reason: str = "") -> None:
        """Write down that it has ended."""
        self.ends += 1
        self.ended, self.code, self.reason = time.monotonic(), code, reason

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


class History:
    """All calls, and the first bits that were seen of each item's answer.

    Attributes:
        calls: In the order in which they began.
        phase: What is being done to the cluster now.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.phase = "calm"
        self._seen: dict[tuple[str, ...], bytes] = {}

    def begin(self, kind: str, deadline_seconds: float, sent: Sequence[str]) -> Call:
        """Write down that a call begins."""
        call = Call(len(self.calls), kind, self.phase, deadline_seconds, sent)
        self.calls.append(call)
        return call

    def same_bits(self, item: tuple[str, ...], bits: bytes) -> bool:
        """Say whether an item's answer is, bit for bit, what it was whenever it was asked for before."""
        return self._seen.setdefault(item, bits) == bits

    def of(self, phase: str) -> list[Call]:
        """Return the calls that began while that was done to the cluster."""
        return [call for call in self.calls if call.phase == phase]


def problems(calls: Sequence[Call], lag_seconds: float) -> list[str]:
    """Return what is wrong with a history; `lag_seconds` is how far behind its callers' event loop was.

    Every call has ended exactly once, before its deadline and `SLACK_SECONDS` more.
    """
    found: list[str] = []
    for call in calls:
        name = f"call {call.number} ({call.kind}, {call.phase})"
        late = call.seconds - call.deadline_seconds
        if call.ends != 1:
            found.append(f"{name} ended {call.ends} times")
        elif late > SLACK_SECONDS + lag_seconds:
            found.append(f"{name} ended {late:.3f} s after its deadline (lag {lag_seconds:.3f} s)")
        if call.code == OK and not 0 <= call.cached_inputs <= len(call.sent):
            found.append(f"{name} had {call.cached_inputs} of {len(call.sent)} inputs from the cache")
    return _some(found)


def wrong_answers(calls: Sequence[Call]) -> list[str]:
    """Return which answers are not right.

    A right one has as many items as were asked for, each that of its own text, bit for bit the same as at any
    other time.
    """
    return _some(
        [f"call {call.number} ({call.kind}, {call.phase}): {call.wrong}" for call in calls if call.wrong]
    )


def _some(found: Sequence[str]) -> list[str]:
    """Return as many as a message of an assertion should have."""
    return [*found[:MOST_TOLD], *([f"and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else [])]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a history comes to.

    Attributes:
        calls: How many there were, those of impatient callers included.
        failures: Code and reason of each failed call of a patient caller, with how often.
        wrong: How many answers were not right.
        impatient: How many calls of impatient callers ran into their deadline, as they may.
        p99_seconds: 99th percentile of how long answered calls took.
        cached_inputs: How many items came from the cache.
        sent: How many items were sent.
    """

    calls: int
    failures: Counter[tuple[str, str, str]]
    wrong: int
    impatient: int
    p99_seconds: float
    cached_inputs: int
    sent: int

    @property
    def failed(self) -> int:
        """How many calls of patient callers failed."""
        return self.failures.total()

    def told(self) -> str:
        """Describe the failures."""
        return "; ".join(f"{count} x {' '.join(kind)}" for kind, count in self.failures.most_common(8))


def summary(calls: Sequence[Call], impatient: str = "impatient") -> Summary:
    """Return what a history comes to; callers of the kind `impatient` may run into their deadlines."""

    def expired(call: Call) -> bool:
        return call.kind == impatient and call.code == "DEADLINE_EXCEEDED"

    answered = sorted(call.seconds for call in calls if call.code == OK)
    failures = Counter(
        (call.kind, call.code, call.reason)
        for call in calls
        if call.code not in {OK, GARBLED} and not expired(call)
    )
    return Summary(
        calls=len(calls),
        failures=failures,
        wrong=sum(bool(call.wrong) for call in calls),
        impatient=sum(map(expired, calls)),
        p99_seconds=answered[int(len(answered) * 0.99)] if answered else 0.0,
        cached_inputs=sum(call.cached_inputs for call in calls),
        sent=sum(len(call.sent) for call in calls),
    )
