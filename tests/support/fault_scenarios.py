"""Sixteen ways in which providers misbehave, and what a gateway has to make of them.

They are those of https://github.com/failoverbench/failoverbench (methodology 0.1) with the same verdicts, run
with shorter times. Its baseline is ours: two retries and one target to fall back to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.fault_actions import (
    answer,
    body,
    done,
    end,
    finish,
    head,
    opening,
    refuse,
    reset,
    stall,
    tokens,
)
from tests.support.fault_chat import SPARE_MODEL, Plot, Seen
from tests.support.fault_server import FaultServer, Received, Script, Scripts

COUNT: Final = 60
WORDS: Final = tuple(f"word{number} " for number in range(COUNT))
ANSWER: Final = "".join(WORDS)
"""The whole answer. Any other text is a wrong one."""

INTERVAL: Final = 0.002
FIRST_TOKEN: Final = 0.5
IDLE: Final = 0.5
RETRY_AFTER: Final = 1.0
SLACK: Final = 1.5
"""How much longer than its timers a call may take on a busy machine, in seconds."""

HEALTHY: Final = answer(WORDS, interval=INTERVAL)


@dataclass(frozen=True)
class Run:
    """One call under one scenario: the caller's view and the providers'.

    Attributes:
        seen: What the caller saw.
        primary, fallback: What the stand-ins saw.
        alive: A healthy call right after it was answered.
    """

    seen: Seen
    primary: FaultServer
    fallback: FaultServer
    alive: bool

    @property
    def is_whole(self) -> bool:
        """Whether the caller has the whole answer and was told so."""
        return self.seen.is_complete and self.seen.text == ANSWER

    @property
    def is_clean_error(self) -> bool:
        """Whether the caller was told that it failed, and why."""
        return self.seen.failure is not None and bool(self.seen.failure.reason)

    def attempts(self, server: FaultServer) -> list[float]:
        """Return when a stand-in was asked, in seconds from the beginning of the call."""
        return [one.arrived_at - self.seen.began_at for one in server.received]

    def gap(self) -> float:
        """Return the seconds between the first two attempts at the first target, 0 if there was one only."""
        times = self.attempts(self.primary)
        return times[1] - times[0] if len(times) > 1 else 0.0


Holds = Callable[[Run], bool]


@dataclass(frozen=True)
class Check:
    """What has to hold, or, if it is advisory, should."""

    name: str
    holds: Holds
    advisory: bool = False


def within(seconds: float) -> Check:
    """Return the check that the call is over in time."""
    return Check(f"over within {seconds:g} s", lambda run: run.seen.seconds <= seconds)


def asked(least: int, most: int, *, advisory: bool = False) -> Check:
    """Return the check of how often the first target was asked."""
    name = f"asks the first target {least} to {most} times" if least < most else f"asks it {least} time(s)"
    return Check(name, lambda run: least <= len(run.primary.received) <= most, advisory)


ALIVE: Final = Check("answers the next call", lambda run: run.alive)
USAGE: Final = Check(
    "reports usage",
    lambda run: run.seen.finish is not None and run.seen.finish.usage.output_tokens == COUNT,
    advisory=True,
)


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: Its number at Failover Bench.
        title: What happens.
        primary, fallback: What the stand-ins do.
        checks: What has to hold besides: no hang, and no part of an answer that is called whole.
        wants_error: The right outcome is an error.
    """

    name: str
    title: str
    primary: Scripts
    fallback: Scripts = (HEALTHY,)
    checks: Sequence[Check] = field(default_factory=tuple)
    wants_error: bool = False

    def __str__(self) -> str:
        return self.name

    def plot(self) -> Plot:
        """Return what to stage."""
        return Plot(self.primary, self.fallback, first_token=FIRST_TOKEN, idle=IDLE, backoff=0.1)


def _refuses_prefill(received: Received) -> Script:
    if received.body["messages"][-1]["role"] == "assistant":
        return (refuse(400, "the conversation must end with a user message", "invalid_prefill"),)
    return HEALTHY


BEGINNING: Final = (head(), opening)
CUT: Final = (*BEGINNING, tokens(WORDS[:40], INTERVAL))
STALLED: Final = (*BEGINNING, tokens(WORDS[:20], INTERVAL), stall)
GARBAGE: Final = body(b'data: {"id": "c1", "choices": [{"delta": {"content": \n\n')
MALFORMED: Final = (
    *BEGINNING,
    tokens(WORDS[:10], INTERVAL),
    GARBAGE,
    tokens(WORDS[10:], INTERVAL),
    finish(output_tokens=COUNT),
    done,
    end,
)
NO_DONE: Final = (*BEGINNING, tokens(WORDS, INTERVAL), finish(output_tokens=COUNT), end)
BUSY: Final = (refuse(429, "slow down", "rate_limit_exceeded"),)
BUSY_FOR_A_WHILE: Final = (refuse(429, "slow down", headers={"retry-after": f"{RETRY_AFTER:g}"}),)
OVERLOADED: Final = (refuse(503, "overloaded", "overloaded"),)

NO_HAMMERING: Final = Check(
    "does not hammer", lambda run: sum(one <= 1.5 for one in run.attempts(run.primary)) <= 4
)
HONOURED: Final = Check(
    "waits as long as it is asked to", lambda run: run.gap() >= 0.9 * RETRY_AFTER, advisory=True
)
SPARE_NAMED: Final = Check(
    "names who answered",
    lambda run: (run.seen.provider, run.seen.upstream_model) == ("fallback", SPARE_MODEL),
)
REPORTED: Final = Check(
    "reports every attempt, the failed ones without usage",
    lambda run: (
        run.seen.finish is not None
        and len(run.seen.finish.attempts) == len(run.primary.received) + 1
        and not any(one.HasField("usage") for one in run.seen.finish.attempts[:-1])
    ),
)

SCENARIOS: Final = (
    Scenario(
        "S01",
        "429 with Retry-After, then healthy",
        (BUSY_FOR_A_WHILE, HEALTHY),
        checks=(asked(2, 2, advisory=True), HONOURED, NO_HAMMERING),
    ),
    Scenario("S02", "429 every time", (BUSY,), checks=(NO_HAMMERING, asked(1, 6))),
    Scenario(
        "S03",
        "500 once",
        ((refuse(500, "oops"),), HEALTHY),
        checks=(asked(2, 2, advisory=True),),
    ),
    Scenario("S04", "503 every time", (OVERLOADED,), checks=(asked(1, 6),)),
    Scenario("S05", "reset before headers, once", ((reset,), HEALTHY)),
    Scenario(
        "S06",
        "no response at all",
        ((stall,),),
        checks=(within(FIRST_TOKEN + SLACK), asked(1, 1, advisory=True)),
    ),
    Scenario(
        "S07",
        "slow first token",
        (answer(WORDS, before=4 * (FIRST_TOKEN + SLACK)),),
        checks=(within(FIRST_TOKEN + SLACK),),
    ),
    Scenario("S08", "cut after 40 of 60 tokens", (CUT,)),
    Scenario("S09", "stalls after 20 tokens", (STALLED,), checks=(within(IDLE + SLACK), ALIVE)),
    Scenario("S10", "malformed event after 10 tokens", (MALFORMED,), checks=(ALIVE,)),
    Scenario("S11", "ends without [DONE]", (NO_DONE,), checks=(within(SLACK), USAGE)),
    Scenario(
        "S12",
        "context length exceeded",
        ((refuse(400, "too long", "context_length_exceeded"),),),
        checks=(asked(1, 1),),
    ),
    Scenario(
        "S13",
        "content filter",
        ((refuse(400, "rejected", "content_policy_violation"),),),
        checks=(
            asked(1, 1),
            within(SLACK),
            Check("does not route around it", lambda run: not run.fallback.received, advisory=True),
        ),
        wants_error=True,
    ),
    Scenario(
        "S14",
        "cut, and the fallback refuses to continue",
        (CUT,),
        _refuses_prefill,
        checks=(
            Check(
                "does not hide the failure behind a refused continuation",
                lambda run: run.seen.failure is None or run.seen.failure.reason == "UPSTREAM_INTERRUPTED",
            ),
        ),
    ),
    Scenario(
        "S16",
        "accounting after falling back",
        (OVERLOADED,),
        checks=(SPARE_NAMED, USAGE, REPORTED, asked(1, 6)),
    ),
)
"""All but S15, which is a sequence of calls: see `Outage`."""


@dataclass
class Outage:
    """S15: the first target refuses everything for a while, then it is healthy.

    Attributes:
        seconds: How long it refuses.
        calls: How many calls are made.
        interval: Seconds between two of them.
        probe_interval, longest_probe_interval: Seconds between two probes, at first and at most.
        began_at: When it began, by `time.monotonic`.
    """

    seconds: float = 1.5
    calls: int = 24
    interval: float = 0.1
    probe_interval: float = 0.25
    longest_probe_interval: float = 0.5
    began_at: float = field(default_factory=time.monotonic)

    @property
    def ends_at(self) -> float:
        """When it is over."""
        return self.began_at + self.seconds

    def script(self, received: Received) -> Script:
        """Return what the first target does with a request."""
        return OVERLOADED if received.arrived_at < self.ends_at else answer(WORDS[:1])

    def plot(self) -> Plot:
        """Return what to stage."""
        ejection = f"ejection_seconds = {self.probe_interval}"
        longest = f"max_ejection_seconds = {self.longest_probe_interval}"
        return Plot(self.script, (answer(WORDS[:1]),), backoff=0.02, chat=f"{ejection}\n{longest}")
