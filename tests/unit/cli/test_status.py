"""`inglenook status`: how the cluster is, in the words of whoever is asked."""

from __future__ import annotations

from inglenook.router.v1 import (
    Backend,
    BackendState,
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
)

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
