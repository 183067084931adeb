"""How a service process ends, told as stories about real processes."""

from __future__ import annotations

import signal
from pathlib import Path

import grpc

from tests.support.checking import check, next_status, watch
from tests.support.handlers import SERVICE, connected, failure
from tests.support.polling import until
from tests.support.processes import echo_service, write_settings


async def test_asked_to_stop_while_idle(tmp_path: Path) -> None:
    """1. It serves. 2. SIGINT, as from Ctrl-C. 3. It ends with 0, and its log says in which order."""
    with echo_service(tmp_path, write_settings(tmp_path)) as service:
        async with connected(await service.address()) as client:
            await client.unary()
        service.signal(signal.SIGINT)
        assert await service.exit_code() == 0
    assert [entry["message"] for entry in service.entries()] == [
        "listening",
        "entered",
        "draining",
        "stopped",
    ]


async def test_asked_to_stop_under_load(tmp_path: Path) -> None:
    """1. A call is in flight, a client watches. 2. SIGTERM. 3. The client is told NOT_SERVING.

    4. Calls that it still sends are answered. 5. When the drain is over, no call gets in any more.
    6. The call of step 1 gets its answer. 7. The process ends with 0.
    """
    done = tmp_path / "done"
    with echo_service(tmp_path, write_settings(tmp_path, drain=2.0, grace=20.0)) as service:
        address = await service.address()
        async with connected(address) as client, connected(address) as other:
            slow = client.unary(str(done))
            await service.logged("entered")
            watching = watch(other.channel, SERVICE)
            assert await next_status(watching) == "SERVING"
            service.signal(signal.SIGTERM)
            assert await next_status(watching) == "NOT_SERVING"
            assert (await other.unary("one more")).value == "one more"
            await until(lambda: _turned_away(address))
            assert service.process.poll() is None
            done.touch()
            assert (await slow).value == str(done)
        assert await service.exit_code() == 0


async def test_asked_twice_during_the_drain(tmp_path: Path) -> None:
    """1. The drain takes ten minutes. 2. SIGTERM. 3. SIGTERM again. 4. The process ends with 0, soon."""
    with echo_service(tmp_path, write_settings(tmp_path, drain=600.0)) as service:
        await service.address()
        service.signal(signal.SIGTERM)
        await service.logged("draining")
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0


async def test_asked_twice_while_a_call_is_in_flight(tmp_path: Path) -> None:
    """1. A call that never ends. 2. SIGTERM; the grace takes ten minutes. 3. SIGTERM again.

    4. The caller gets an error. 5. The process ends with 0.
    """
    with echo_service(tmp_path, write_settings(tmp_path, grace=600.0)) as service:
        address = await service.address()
        async with connected(address) as client:
            endless = client.unary(str(tmp_path / "never"))
            await service.logged("entered")
            service.signal(signal.SIGTERM)
            await until(lambda: _turned_away(address))
            service.signal(signal.SIGTERM)
            failed = await failure(endless)
        assert await service.exit_code() == 0
    assert failed.code in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


async def test_call_that_outlives_the_grace_does_not_hold_the_process(tmp_path: Path) -> None:
    """1. A call that never ends. 2. SIGTERM; the grace is short. 3. The process ends with 0."""
    with echo_service(tmp_path, write_settings(tmp_path, grace=0.2)) as service:
        async with connected(await service.address()) as client:
            endless = client.unary(str(tmp_path / "never"))
            await service.logged("entered")
            service.signal(signal.SIGTERM)
            await failure(endless)
        assert await service.exit_code() == 0


async def test_asked_to_stop_while_it_loads(tmp_path: Path) -> None:
    """1. The application loads for ever; health says NOT_SERVING. 2. SIGTERM. 3. It ends with 0."""
    with echo_service(tmp_path, write_settings(tmp_path), "loading") as service:
        async with connected(await service.address()) as client:
            assert await check(client.channel, SERVICE) == "NOT_SERVING"
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0
    assert service.entries()[-1]["message"] == "stopped"


async def test_collector_that_never_answers_does_not_hold_the_process(tmp_path: Path, mute_port: int) -> None:
    """1. Traces go to something that accepts and says nothing. 2. A call is traced. 3. SIGTERM.

    4. The process gives up after `flush_seconds`, says so, and ends with 0.
    """
    more = f'[telemetry]\notlp_endpoint = "http://127.0.0.1:{mute_port}"\n'
    with echo_service(tmp_path, write_settings(tmp_path, more=more)) as service:
        async with connected(await service.address()) as client:
            await client.unary()
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0
    assert "the last traces could not be sent" in [entry["message"] for entry in service.entries()]


async def test_command_line_overrules_the_configuration(tmp_path: Path) -> None:
    """1. The file says ten minutes of drain. 2. The command line says none, no metrics, and for people.

    3. It serves. 4. SIGTERM. 5. The process ends with 0, and its log is not JSON.
    """
    more = ("--drain-seconds", "0", "--no-metrics", "--log-format", "console")
    with echo_service(tmp_path, write_settings(tmp_path, drain=600.0), "serving", *more) as service:
        await service.wrote("listening")
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0
    first = service.text().splitlines()[0]
    assert "embed   listening  address=127.0.0.1:" in first
    assert "metrics_address=None" in first


async def _turned_away(address: str) -> bool:
    async with connected(address) as client:
        try:
            await client.unary(timeout=1)
        except grpc.aio.AioRpcError:
            return True
    return False
