"""A replica that is frozen, among others."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from inglenook.embed.v1 import EmbedRequest

from tests.support.polling import until
from tests.support.processes import echo_service, write_settings
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import asking, opened, write_tiers

CONTENT = EmbedRequest(inputs=["a"]).SerializeToString()
IMPATIENT = "[channels]\nkeepalive_seconds = 1.0\nping_timeout_seconds = 0.2\n"


async def test_a_call_in_a_frozen_process_moves_to_another_replica_within_its_deadline(
    tmp_path: Path,
) -> None:
    """1. Two replicas answer. 2. One is frozen. 3. Every call is answered all the same, by the other."""
    async with asyncio.timeout(2 * LIMIT_SECONDS), AsyncExitStack() as stack:
        configuration = write_settings(tmp_path)
        replicas = [stack.enter_context(echo_service(tmp_path, configuration, "replica")) for _ in range(2)]
        endpoints = [await replica.address() for replica in replicas]
        file = write_tiers(tmp_path, {"only": endpoints}, more=IMPATIENT)
        route = await stack.enter_async_context(opened(file))

        async def answered_by() -> str:
            return (await route.unary(asking(CONTENT))).endpoint

        for endpoint in endpoints:

            async def answers(expected: str = endpoint) -> bool:
                return await answered_by() == expected

            await until(answers)
        replicas[0].signal(signal.SIGSTOP)
        assert [await answered_by() for _ in range(6)] == [endpoints[1]] * 6
