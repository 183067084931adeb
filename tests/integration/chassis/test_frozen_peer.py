"""A process that is frozen keeps its connections open and answers nothing."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import grpc

from services.chassis.channels import endpoint_channel
from services.config import Channels, Limits
from tests.support.handlers import LIMIT_SECONDS, Client, failure
from tests.support.processes import echo_service, write_settings

IMPATIENT = Channels(keepalive_seconds=1.0, ping_timeout_seconds=0.2)
FAR_DEADLINE_SECONDS = 50.0


async def test_call_in_a_frozen_process_fails_long_before_its_deadline(tmp_path: Path) -> None:
    """With a single endpoint there is nowhere to go, and the caller may as well know."""
    with echo_service(tmp_path, write_settings(tmp_path)) as service:
        address = await service.address()
        async with asyncio.timeout(LIMIT_SECONDS), endpoint_channel(address, IMPATIENT, Limits()) as channel:
            client = Client(channel)
            await client.unary()
            service.signal(signal.SIGSTOP)
            failed = await failure(client.unary(timeout=FAR_DEADLINE_SECONDS))
    assert failed.code is grpc.StatusCode.UNAVAILABLE
