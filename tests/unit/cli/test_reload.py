"""`inglenook reload`, and what `status` tells of the configuration."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.common.v1 import ConfigStatus
from inglenook.router.v1 import (
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
    ReloadRequest,
    ReloadResponse,
)

from services.chassis.reload import refused
from services.config import Problem
from tests.unit.cli.canned import CannedRouter

CONFIG = ConfigStatus(
    path="/etc/inglenook.toml", sha256="ab" * 32, loaded_at=Timestamp(seconds=1_800_000_000)
)
PROBLEMS = (
    Problem("limits.max_speed", "is not a setting", "remove it"),
    Problem("models.minilm.pooling", "must be 'mean' or 'cls'"),
)


def test_a_file_that_is_in_force_is_told_with_its_hash(router: CannedRouter) -> None:
    """And so is when it was read."""
    router.on(ReloadRequest, lambda _: ReloadResponse(config=CONFIG, changed=True))
    done = router.run("reload")
    assert done.exit_code == 0, done.output
    assert "is in force" in done.stdout
    assert "abababababab" in done.stdout
    assert "2027-01-15" in done.stdout


def test_a_file_without_changes_says_so(router: CannedRouter) -> None:
    """It is no error."""
    router.on(ReloadRequest, lambda _: ReloadResponse(config=CONFIG))
    done = router.run("reload")
    assert done.exit_code == 0, done.output
    assert "nothing has changed" in done.stdout


def test_a_refused_file_ends_with_1_and_lists_every_problem(router: CannedRouter) -> None:
    """Each on a line of its own, with its path."""

    def refuse(_: object) -> ReloadResponse:
        raise refused(PROBLEMS)

    router.on(ReloadRequest, refuse)
    done = router.run("reload")
    assert done.exit_code == 1
    assert "limits.max_speed is not a setting (remove it)" in done.stderr
    assert "models.minilm.pooling must be" in done.stderr
    assert "stays as it was" in done.stderr


def test_programs_get_the_problems_as_fields(router: CannedRouter) -> None:
    """In one document, with the reason."""

    def refuse(_: object) -> ReloadResponse:
        raise refused(PROBLEMS)

    router.on(ReloadRequest, refuse)
    done = router.run("reload", "--json")
    assert done.exit_code == 1
    assert '"reason": "CONFIG_INVALID"' in done.stdout
    assert '"field": "models.minilm.pooling"' in done.stdout


def test_the_status_tells_what_is_wrong_with_the_file_and_what_needs_a_restart(router: CannedRouter) -> None:
    """Without them nobody would know why a change does not show."""
    config = ConfigStatus()
    config.CopyFrom(CONFIG)
    config.last_error = "limits.max_speed: is not a setting"
    config.restart_needed.append("services.router.listen")
    router.on(GetStatusRequest, lambda _: GetStatusResponse(version="1", config=config))
    router.on(ListBackendsRequest, lambda _: ListBackendsResponse())
    done = router.run("status")
    assert done.exit_code == 0, done.output
    assert "last reload: limits.max_speed: is not a setting" in done.stdout
    assert "hold only after a restart: services.router.listen" in done.stdout
