"""A process that is frozen keeps its connections open and answers nothing."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from inglenook.embed.v1 import EmbedRequest

from services.chassis.channels import endpoint_channel
from services.config import Channels, Limits
from tests.support.handlers import LIMIT_SECONDS, Client, failure
from tests.support.polling import until
from tests.support.processes import echo_service, write_settings
from tests.support.replicas import balanced

if TYPE_CHECKING:
    from inglenook.embed.v1.embed_pb2_grpc import EmbedServiceAsyncStub  # exists for type checkers only

IMPATIENT = Channels(keepalive_seconds=1.0, ping_timeout_seconds=0.2)
FAR_DEADLINE_SECONDS = 50.0


async def test_call_in_a_frozen_process_moves_to_another_replica_within_its_deadline(tmp_path: Path) -> None:
    """1. Two replicas answer. 2. One is frozen. 3. Every call is answered all the same, by the other."""
    async with asyncio.timeout(2 * LIMIT_SECONDS), AsyncExitStack() as stack:
        configuration = write_settings(tmp_path)
        replicas = [stack.enter_context(echo_service(tmp_path, configuration, "replica")) for _ in range(2)]
        endpoints = [await replica.address() for replica in replicas]
        stub = await stack.enter_async_context(balanced(endpoints, IMPATIENT))
        await until(lambda: _answered_by(stub, endpoints[0]))
        await until(lambda: _answered_by(stub, endpoints[1]))
        replicas[0].signal(signal.SIGSTOP)
        by_the_other = [await _answered_by(stub, endpoints[1]) for _ in range(6)]
    assert by_the_other == [True] * 6


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


async def _answered_by(stub: EmbedServiceAsyncStub, endpoint: str) -> bool:
    call = stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
    await call
    served_by = str(dict(await call.trailing_metadata())["inglenook-served-by"])
    return served_by.endswith(endpoint.removeprefix("127.0.0.1"))
