"""The spans of a service, as they arrive at a real collector."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.process import ProcessSettings
from services.chassis.testing import settings
from services.config import Limits, Shutdown, Telemetry
from tests.support.checking import check, next_status, watch
from tests.support.collector import Collector, collecting
from tests.support.flood import Flood, Way
from tests.support.gate import Gate
from tests.support.handlers import LIMIT_SECONDS, STREAM, UNARY, Context, HandlerApplication, failure, served
from tests.support.polling import LONG_ENOUGH_SECONDS, until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


def traced(collector: Collector, calls: int = 100, **telemetry: object) -> ProcessSettings:
    """Return settings of a process that sends its traces to `collector`, the last ones when it leaves."""
    shutdown = Shutdown(drain_seconds=0.0, grace_seconds=5.0, flush_seconds=15.0)
    chosen = settings(limits=Limits(max_concurrent_calls=calls), shutdown=shutdown)
    values = {"otlp_endpoint": collector.address, **telemetry}
    return replace(chosen, telemetry=Telemetry.model_validate(values))


async def test_answered_call_has_a_span_that_says_which_service_it_was() -> None:
    """Traces of a cluster are only readable if every span names its service."""
    async with collecting() as collector, served(chosen=traced(collector)) as up:
        await up.client.unary()
        _ = [response async for response in up.client.stream()]
    assert {(span.name, span.failed, span.code) for span in collector.spans} == {
        (UNARY, False, 0),
        (STREAM, False, 0),
    }
    assert {span.resource["service.name"] for span in collector.spans} == {"test"}
    assert {span.resource["service.namespace"] for span in collector.spans} == {"inglenook"}


async def test_span_of_a_refused_call_is_an_error_with_its_code() -> None:
    """Overload that the traces do not show is looked for in the wrong place."""
    gate = Gate()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        collecting() as collector,
        served(gate.application(), traced(collector, calls=1)) as up,
    ):
        inside = up.client.unary()
        await gate.until_entered(1)
        await failure(up.client.unary())
        await failure(up.client.stream())
        gate.open.set()
        await inside
    told = {(span.name, span.failed, span.code) for span in collector.spans}
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert told == {(UNARY, False, 0), (UNARY, True, exhausted), (STREAM, True, exhausted)}


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED])
async def test_span_of_a_call_that_its_caller_gave_up_is_an_error_with_its_code(
    kind: str, code: grpc.StatusCode
) -> None:
    """Nothing aborts these calls, so nothing but their end tells of it."""
    gate = Gate()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        collecting() as collector,
        served(gate.application(), traced(collector)) as up,
    ):
        gave_up = code is grpc.StatusCode.CANCELLED
        call = getattr(up.client, kind)(timeout=LIMIT_SECONDS if gave_up else LONG_ENOUGH_SECONDS)
        await gate.until_entered(1)
        if gave_up:
            call.cancel()
        else:
            await failure(call)
        await until(gate.all_left)
    (span,) = collector.spans
    assert (span.failed, span.code) == (True, code.value[0])


@pytest.mark.parametrize("way", ["yields", "writes"])
async def test_stream_cancelled_while_its_reader_is_slow_ends_its_span_as_cancelled(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler is stuck with a response that nobody takes; its span ends with it, in its own context."""
    caplog.set_level(logging.WARNING)
    flood = Flood()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        collecting() as collector,
        served(flood.application(way), traced(collector)) as up,
    ):
        call = up.client.stream()
        await until(flood.is_stuck)
        call.cancel()
        await until(flood.has_ended)
    (span,) = collector.spans
    assert (span.name, span.failed, span.code) == (STREAM, True, grpc.StatusCode.CANCELLED.value[0])
    assert caplog.records == []


async def test_span_of_a_bug_is_an_error() -> None:
    """INTERNAL in the traces, as in the metrics and at the caller."""

    async def broken(request: StringValue, context: Context) -> StringValue:
        raise ZeroDivisionError

    application = HandlerApplication(unary=broken)
    async with collecting() as collector, served(application, traced(collector)) as up:
        await failure(up.client.unary())
    (span,) = collector.spans
    assert (span.failed, span.code) == (True, grpc.StatusCode.INTERNAL.value[0])


@pytest.mark.parametrize("method", ["/test.v1.TestService/Nothing", "/odd", "odd", "//odd", "/odd/"])
async def test_unknown_method_is_refused_the_same_with_traces_as_without(method: str) -> None:
    """Spans come before everything else, so an error of theirs would reach callers."""
    async with collecting() as collector, served(chosen=traced(collector)) as up:
        failed = await failure(up.client.raw(method))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")


async def test_health_and_reflection_are_not_traced() -> None:
    """Probes would drown what matters, and a watch lives as long as its channel."""
    async with collecting() as collector, served(chosen=traced(collector)) as up:
        await check(up.client.channel)
        call = watch(up.client.channel)
        assert await next_status(call) in {"SERVING", "NOT_SERVING"}
        call.cancel()
        await failure(up.client.raw("/grpc.health.v1.Health/Misspelt"))
    assert collector.spans == []


async def test_span_belongs_to_the_trace_of_the_caller() -> None:
    """One question, one trace, whichever services it goes through."""
    metadata = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01"),)
    async with collecting() as collector, served(chosen=traced(collector, trace_sample_ratio=0.0)) as up:
        await up.client.unary(metadata=metadata)
        await up.client.unary()
    (span,) = collector.spans
    assert (span.trace_id, span.parent_id) == (TRACE_ID, PARENT_ID)


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-0", "00-" + "f" * 300])
async def test_call_with_a_broken_trace_header_is_answered(header: str) -> None:
    """Traces are for us; a caller that sends nonsense in them has not asked for an error."""
    async with collecting() as collector, served(chosen=traced(collector)) as up:
        answer = await up.client.unary("fine", metadata=(("traceparent", header),))
    assert answer.value == "fine"


async def test_collector_gets_the_headers_that_secrets_refer_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosted collectors want a key; the configuration names where it is."""
    monkeypatch.setenv("TEST_COLLECTOR_KEY", "open sesame")
    headers = {"x-collector-key": "env:TEST_COLLECTOR_KEY"}
    async with collecting() as collector, served(chosen=traced(collector, otlp_headers=headers)) as up:
        await up.client.unary()
    assert collector.headers["x-collector-key"] == "open sesame"
