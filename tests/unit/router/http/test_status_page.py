"""The page that browsers get for `/status`."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.common.v1 import Capability, ConfigStatus, ModelInfo, ModelState
from inglenook.model.v1 import ListModelsResponse
from inglenook.router.v1 import (
    Backend,
    BackendState,
    CacheStatus,
    CapabilityStatus,
    GetStatusResponse,
    ListBackendsResponse,
)

from services.chassis.errors import CallError, Reason
from services.router.http.amounts import ago, of_bytes, of_seconds
from services.router.http.status_page import FILE
from tests.support.asgi import Calls, ask

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
NASTY = '"><script>alert(1)</script>&'
STATUS = GetStatusResponse(
    version="1.2.3",
    capabilities=[CapabilityStatus(capability=Capability.CAPABILITY_EMBED, available=True, total_backends=1)],
    cache=CacheStatus(url="redis://cache:6379/0", memory_hits=3, misses=1),
    config=ConfigStatus(path=NASTY, sha256="ab" * 32, last_error=NASTY, restart_needed=[NASTY]),
)
BACKENDS = ListBackendsResponse(
    backends=[
        Backend(
            name=NASTY,
            endpoint=NASTY,
            state=BackendState.BACKEND_STATE_UNREACHABLE,
            state_detail=NASTY,
            load=0.5,
        )
    ]
)
MODELS = ListModelsResponse(
    models=[ModelInfo(name=NASTY, source=NASTY, state=ModelState.MODEL_STATE_READY, memory_bytes=3 << 29)]
)
CLUSTER = {
    "GetStatus": STATUS.SerializeToString(),
    "ListBackends": BACKENDS.SerializeToString(),
    "ListModels": MODELS.SerializeToString(),
}


class NoKey(CallError):
    """What a caller without a key is told."""

    reason = Reason.UNAUTHENTICATED


async def test_browsers_get_a_page_and_programs_get_json() -> None:
    """Of the same address; caches are told that it depends on who asks."""
    page = await ask(Calls(answers=CLUSTER), "/status", method="GET", headers=BROWSER)
    told = await ask(Calls(answers=CLUSTER), "/status", method="GET", headers={"accept": "*/*"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert told.body["version"] == "1.2.3"
    assert page.headers["vary"] == told.headers["vary"] == "accept"


async def test_everything_is_in_tables_for_those_without_scripts() -> None:
    """Services, backends, models, cache and configuration."""
    told = (await ask(Calls(answers=CLUSTER), "/status", method="GET", headers=BROWSER)).content.decode()
    for shown in ("1.2.3", "embed", "unreachable", "50%", "1.5 GiB", "3 of 4, 75%", "abababababab", "redis:"):
        assert shown in told


async def test_whatever_is_shown_is_escaped() -> None:
    """Names come from files and from other machines."""
    told = (await ask(Calls(answers=CLUSTER), "/status", method="GET", headers=BROWSER)).content.decode()
    assert told.count("<script>") == 1
    assert told.count("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;") == 8


async def test_nothing_but_what_is_in_the_page_may_run() -> None:
    """The policy has the hash of the one script and of the one style, and nothing comes from elsewhere."""
    told = await ask(Calls(answers=CLUSTER), "/status", method="GET", headers=BROWSER)
    policy, text = told.headers["content-security-policy"], told.content.decode()
    for name in ("style", "script"):
        (inside,) = re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"(src|href)=|https?://|@import|url\(| on[a-z]+=| style=", FILE.read_text())


async def test_whoever_has_no_key_is_asked_for_one() -> None:
    """A browser cannot send one by itself; a program is told as everywhere."""
    page = await ask(Calls(error=NoKey("no")), "/status", method="GET", headers=BROWSER)
    told = await ask(Calls(error=NoKey("no")), "/status", method="GET", headers={})
    assert (page.status, told.status) == (401, 401)
    assert b"<form>" in page.content
    assert told.error["code"] == "invalid_api_key"


def test_the_page_stays_small() -> None:
    """What is to be read in one sitting."""
    assert len(FILE.read_text().splitlines()) <= 200


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0123, "12 ms"), (1, "1 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (98_765, "1 d 3 h")],
)
def test_durations_are_told_in_their_largest_units(seconds: float, told: str) -> None:
    """Two of them."""
    assert of_seconds(seconds) == told


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (190 << 20, "190 MiB"), (2**60, "1048576 TiB")],
)
def test_sizes_are_told_in_powers_of_two(size: int, told: str) -> None:
    """As operating systems count memory."""
    assert of_bytes(size) == told


def test_what_never_was_has_no_time() -> None:
    """And what lies in the future by another clock was just now."""
    assert ago(Timestamp()) == ""
    assert ago(Timestamp(seconds=2**33)) == "1 s ago"
    assert Duration().ToTimedelta().total_seconds() == 0
