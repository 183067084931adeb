"""Services that cannot start: the exit code says whose fault it is, and the message says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.chassis.metrics import AddressInUse
from services.chassis.process import ServiceProcess
from services.chassis.testing import settings
from services.config import Service
from tests.support.handlers import HandlerApplication
from tests.support.processes import echo_service, started, write_settings


@pytest.mark.parametrize("option", ["--listen", "--metrics-listen"])
async def test_address_in_use_is_named_and_ends_with_1(tmp_path: Path, option: str) -> None:
    """1. Something listens. 2. The service is told to listen there. 3. It says so in one line and ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with echo_service(tmp_path, write_settings(tmp_path), "serving", option, address) as service:
            assert await service.exit_code() == 1
    (entry,) = service.entries()
    assert entry["level"] == "error"
    assert address in entry["message"]
    assert "exception" not in entry


async def test_application_that_cannot_start_ends_with_1_and_a_traceback(tmp_path: Path) -> None:
    """That is a bug, for which whoever reads the log needs the place."""
    with echo_service(tmp_path, write_settings(tmp_path), "broken") as service:
        assert await service.exit_code() == 1
    last = service.entries()[-1]
    assert (last["level"], last["message"]) == ("error", "failed")
    assert any("the model is made of cheese" in line for line in last["exception"])


async def test_every_problem_of_a_configuration_is_told_at_once_and_ends_with_2(tmp_path: Path) -> None:
    """Nobody wants to start a service five times to learn of five mistakes."""
    configuration = tmp_path / "broken.toml"
    configuration.write_text(
        '[services.embed]\nlisten = "nowhere"\nlissen = "127.0.0.1:1"\n[limits]\nmax_batch_size = 0\n',
        encoding="utf-8",
    )
    with started("services.embed", ["--config", str(configuration)], tmp_path) as service:
        assert await service.exit_code() == 2
    told = service.log.read_text(encoding="utf-8")
    for part in ("broken.toml: 3 problems", "services.embed.listen", "lissen", "limits.max_batch_size"):
        assert part in told
    assert "Traceback" not in told


async def test_missing_configuration_ends_with_2_and_its_name(tmp_path: Path) -> None:
    """The commonest mistake of all is to start in the wrong folder."""
    with started("services.embed", ["--config", str(tmp_path / "none.toml")], tmp_path) as service:
        assert await service.exit_code() == 2
    assert "none.toml" in service.log.read_text(encoding="utf-8")


async def test_unknown_option_ends_with_2(tmp_path: Path) -> None:
    """As for every other program."""
    with started("services.embed", ["--port", "1"], tmp_path) as service:
        assert await service.exit_code() == 2
    assert "--port" in service.log.read_text(encoding="utf-8")


async def test_second_server_does_not_share_a_port() -> None:
    """By default gRPC shares it, and two processes would silently get half of the calls each."""
    first = ServiceProcess(settings(), HandlerApplication())
    await first.start()
    try:
        chosen = settings()
        taken = Service(listen=first.address, metrics_listen=None)
        second = ServiceProcess(
            type(chosen)(
                chosen.name, chosen.version, taken, chosen.limits, chosen.shutdown, chosen.telemetry
            ),
            HandlerApplication(),
        )
        with pytest.raises(AddressInUse, match=first.address):
            await second.start()
    finally:
        await first.leave()
