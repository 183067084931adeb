"""`inglenook status`: how the cluster is, in the words of whoever is asked."""

from __future__ import annotations

from inglenook.router.v1 import (
    Backend,
    BackendState,
    CacheStatus,
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
)

from services.router.access.errors import TooFast
from tests.unit.cli.canned import CannedRouter


def test_square_brackets_in_what_is_told_are_no_markup(router: CannedRouter) -> None:
    """Details hold addresses like [::1], and lists; none may vanish, color the table or end the tool."""
    backend = Backend(
        name="embed-0",
        endpoint="[::1]:50051",
        state=BackendState.BACKEND_STATE_UNREACHABLE,
        state_detail="failed to connect to [/::1] and [red]others[/nothing]",
    )
    router.on(GetStatusRequest, lambda _: GetStatusResponse(version="1"))
    router.on(ListBackendsRequest, lambda _: ListBackendsResponse(backends=[backend]))

    done = router.run("status")

    assert done.exit_code == 0, done.output
    assert backend.endpoint in done.stdout
    assert backend.state_detail in done.stdout


def test_cache_has_a_row(router: CannedRouter) -> None:
    """Where answers are kept, how many lookups find one, and whether Redis answers."""
    router.on(ListBackendsRequest, lambda _: ListBackendsResponse())
    kept = CacheStatus(
        url="redis://cache:6379/0",
        memory_entries=12,
        memory_bytes=3 * 2**20,
        max_memory_bytes=64 * 2**20,
        memory_hits=1,
        redis_hits=2,
        misses=1,
        redis_errors=5,
    )
    router.on(GetStatusRequest, lambda _: GetStatusResponse(version="1", cache=kept))
    (row,) = (line for line in router.run("status").stdout.splitlines() if line.startswith("redis:"))
    assert [part.strip() for part in row.split("  ") if part] == [
        "redis://cache:6379/0",
        "12",
        "3.0 of 64 MiB",
        "75% of 4",
        "not available",
        "5",
    ]
    kept.url, kept.redis_errors = "memory:", 0
    (row,) = (line for line in router.run("status").stdout.splitlines() if line.startswith("memory:"))
    assert "available" not in row


def test_call_that_may_be_made_again_later_says_when(router: CannedRouter) -> None:
    """Whoever called too often wants to know how long to wait, and so does a program."""

    def refuse(request: GetStatusRequest) -> GetStatusResponse:
        del request
        raise TooFast(60, 2.5)

    router.on(GetStatusRequest, refuse)
    assert "try again in 2.5 s" in router.run("status").stderr
    assert router.error("status")["retryAfterSeconds"] == 2.5
