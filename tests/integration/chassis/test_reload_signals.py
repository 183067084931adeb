"""How a service process follows its configuration file, told as stories about real processes."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.handlers import connected
from tests.support.polling import until
from tests.support.processes import Running, echo_service, write_settings


async def told(service: Running, message: str, count: int) -> dict[str, object]:
    """Wait until something was logged so many times, and return the last entry."""

    async def find() -> dict[str, object]:
        found = [entry for entry in service.entries() if entry["message"] == message]
        return found[-1] if len(found) >= count else {}

    return await until(find)


async def test_a_file_is_followed_by_itself_and_at_once_on_sighup(tmp_path: Path) -> None:
    """1. The file is replaced. 2. The process has it in force, and says what needs a restart.

    3. The file is broken, SIGHUP: the log says why, and nothing changes. 4. It is mended, SIGHUP: in force.
    5. All the while calls are answered, and SIGTERM ends the process with 0.
    """
    path = write_settings(tmp_path)
    good = path.read_text(encoding="utf-8")
    with echo_service(tmp_path, path) as service:
        async with connected(await service.address()) as client:
            other = tmp_path / "new.toml"
            other.write_text(good.replace("grace_seconds = 5.0", "grace_seconds = 7.0"), encoding="utf-8")
            other.replace(path)
            followed = await told(service, "configuration in force", 1)
            assert followed["restart_needed"] == ["shutdown.grace_seconds"]

            path.write_text("[limits]\nmax_speed = 1\n", encoding="utf-8")
            service.signal(signal.SIGHUP)
            refused = await told(service, "the configuration stays as it was", 1)
            assert "limits.max_speed" in str(refused["problem"])
            assert (await client.unary("still")).value == "still"

            path.write_text(good + "# mended\n", encoding="utf-8")
            service.signal(signal.SIGHUP)
            assert (await told(service, "configuration in force", 2))["restart_needed"] == []
            assert (await client.unary("here")).value == "here"
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0
