"""While the event loop is blocked, calls wait; none is lost, and the metrics show the stall."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.stall import WORTH_A_WARNING_SECONDS
from services.chassis.testing import settings
from services.config import Limits
from tests.support.handlers import LIMIT_SECONDS, Context, HandlerApplication, served
from tests.support.polling import until
from tests.support.processes import ROOT
from tests.support.scraping import total

CALLS = 2_500

BURST = """
import asyncio, sys
from collections import Counter
from services.config import environment
environment.prepare_native_libraries()
import grpc
from tests.support.handlers import Client

async def one(client):
    try:
        await client.unary(timeout=40)
    except grpc.aio.AioRpcError as error:
        return error.code().name + ":" + str(error.details())
    return "OK"

async def burst(address, calls):
    async with grpc.aio.insecure_channel(address) as channel:
        client = Client(channel)
        ended = Counter(await asyncio.gather(*(one(client) for _ in range(calls))))
    sys.stdout.write(" ".join(f"{code}={count}" for code, count in ended.items()))

asyncio.run(burst(sys.argv[1], int(sys.argv[2])))
"""


async def test_no_call_of_a_burst_is_lost_while_the_loop_stands_still() -> None:
    """Calls that no handler has seen wait in a queue of gRPC, which by default soon answers CANCELLED."""
    stalled = threading.Event()

    async def stall_once(request: StringValue, context: Context) -> StringValue:
        if not stalled.is_set():
            stalled.set()
            time.sleep(1.5)  # noqa: ASYNC251  # to block the loop is the point
        return request

    chosen = settings(limits=Limits(max_concurrent_calls=2 * CALLS))
    async with served(HandlerApplication(unary=stall_once), chosen) as up:
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BURST,
            up.process.address,
            str(CALLS),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await client.communicate()
    assert output.decode() == f"OK={CALLS}"


async def test_stall_of_the_loop_is_measured_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever blocks the loop delays every call; someone has to say so."""
    caplog.set_level(logging.WARNING, logger="services.chassis.stall")

    async def warned() -> bool:
        return any(record.message == "the event loop stalled" for record in caplog.records)

    async with asyncio.timeout(LIMIT_SECONDS), served(chosen=settings(metrics=True)) as up:
        bucket = {"le": str(WORTH_A_WARNING_SECONDS)}
        name = "inglenook_event_loop_lag_seconds"
        await until(lambda: total(up.process, f"{name}_count"))
        time.sleep(2 * WORTH_A_WARNING_SECONDS + 0.5)  # noqa: ASYNC251  # to block the loop is the point
        await until(warned)
        late = await total(up.process, f"{name}_count") - await total(up.process, f"{name}_bucket", **bucket)
    assert late == 1
    (record,) = caplog.records
    assert record.__dict__["lag_seconds"] > WORTH_A_WARNING_SECONDS
