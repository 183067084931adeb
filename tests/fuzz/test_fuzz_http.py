"""Whatever bytes are sent to a path, the answer is one that HTTP knows, and the process lives."""

from __future__ import annotations

import zlib

import pytest

from services.router.http.site import PATHS
from tests.fuzz.campaign import OUTCOMES, Outcome
from tests.fuzz.cluster import Fuzzed
from tests.fuzz.requests import requests
from tests.fuzz.site import send_all
from tests.fuzz.test_fuzz_calls import GROWTH_BYTES, logged_errors

BODIES_SHARE = 4
"""One body for so many messages of the other tests."""
CASES = [pytest.param(method, path, id=f"{method} {path}") for method, path, *_ in PATHS]


@pytest.mark.parametrize(("method", "path"), [*CASES, pytest.param("POST", "/nowhere", id="POST /nowhere")])
async def test_every_request_gets_an_answer(
    fuzzed: Fuzzed, method: str, path: str, count: int, start: int
) -> None:
    """Damaged JSON, heads and bodies: no hang, no bug, nothing told that callers must not see."""
    outcome = Outcome(f"{method} {path}")
    before, logged = fuzzed.memory_bytes("router"), fuzzed.log_bytes("router")
    number = start ^ zlib.crc32(path.encode())
    await send_all(fuzzed.http, requests(method, path, count // BODIES_SHARE, number), outcome)
    assert fuzzed.alive("router"), fuzzed.programs["router"].log.read_text()[-2000:]
    outcome.memory_bytes = fuzzed.memory_bytes("router")
    outcome.grown_bytes = outcome.memory_bytes - before
    OUTCOMES.append(outcome)
    assert outcome.wrong == []
    assert outcome.grown_bytes < GROWTH_BYTES
    assert logged_errors(fuzzed, "router", logged) == []
