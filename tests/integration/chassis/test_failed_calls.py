"""What the caller of a failed call gets to see."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.errors import CallError, InvalidRequest, Relayed
from services.chassis.testing import settings
from tests.support.handlers import Context, HandlerApplication, failure, served
from tests.support.scraping import handled

SERVED_BY = "inglenook-served-by"
SECRET = "my diary, page 7"


def failing(error: Exception) -> HandlerApplication:
    """Return an application whose methods raise `error`, the streaming one after a first response."""

    async def unary(request: StringValue, context: Context) -> StringValue:
        raise error

    async def stream(request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        yield request
        raise error

    return HandlerApplication(unary=unary, stream=stream)


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_nothing_of_an_exception_reaches_the_caller_but_an_id_that_the_log_has(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Type, text and traceback may quote what users sent; gRPC by itself would send the first two."""
    async with served(failing(ZeroDivisionError(SECRET))) as up:
        failed = await failure(getattr(up.client, kind)(SECRET))
    error_id = failed.metadata["errorId"]
    assert failed.code is grpc.StatusCode.INTERNAL
    assert failed.message == f"internal error; the service's log has it under this id: {error_id}"
    for leak in (SECRET, "ZeroDivision", "Traceback", ".py"):
        assert leak not in repr(failed)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.__dict__["error_id"] == error_id
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_every_bug_has_an_id_of_its_own() -> None:
    """An id that two failures share would find the wrong one in the log."""
    async with served(failing(ZeroDivisionError())) as up:
        ids = {(await failure(up.client.unary())).metadata["errorId"] for _ in range(3)}
    assert len(ids) == 3


async def test_exception_with_a_reason_that_does_not_exist_is_a_bug() -> None:
    """What has the shape of an explanation but not its content must not reach the caller either."""

    class Misspelt(CallError):
        reason = "QUEUE_FUL"

    async with served(failing(Misspelt(SECRET))) as up:
        failed = await failure(up.client.unary())
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert SECRET not in repr(failed)
    assert "QUEUE_FUL" not in repr(failed)


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_explained_error_arrives_with_all_its_details(kind: str) -> None:
    """Programs branch on reason and metadata, highlight fields, and wait as long as they are told."""

    class Explained(Exception):
        """Has the shape, inherits nothing of ours."""

        reason = "QUEUE_FULL"
        metadata = {"maxQueueSize": "7"}  # noqa: RUF012  # shape of an instance
        violations = (("inputs[3]", "is empty"),)
        retry_after_seconds = 0.25

    async with served(failing(Explained("the queue is full"))) as up:
        failed = await failure(getattr(up.client, kind)())
    assert (failed.code, failed.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    assert (failed.reason, failed.domain) == ("QUEUE_FULL", "inglenook")
    assert failed.metadata == {"maxQueueSize": "7"}
    assert failed.violations == (("inputs[3]", "is empty"),)
    assert failed.retry_after_seconds == 0.25


async def test_abort_by_a_handler_goes_through_untouched() -> None:
    """Code, message and trailing metadata are the handler's, and the metrics have its code."""

    async def aborting(request: StringValue, context: Context) -> StringValue:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not on Sundays", (("mine", "kept"),))
        raise AssertionError

    application = HandlerApplication(unary=aborting)
    async with served(application, settings(metrics=True)) as up:
        failed = await failure(up.client.unary())
        assert await handled(up.process) == {("Unary", "FAILED_PRECONDITION"): 1}
    assert (failed.code, failed.message) == (grpc.StatusCode.FAILED_PRECONDITION, "not on Sundays")
    assert failed.trailing == {"mine": "kept"}


async def test_status_of_another_service_is_passed_on_unchanged() -> None:
    """A router in between adds nothing and loses nothing, least of all who answered."""
    metadata = ((SERVED_BY, "embed@elsewhere:1"), ("grpc-status-details-bin", b""))
    relayed = Relayed(grpc.StatusCode.NOT_FOUND, "no such model", metadata)
    async with served(failing(relayed)) as up:
        failed = await failure(up.client.unary())
    assert (failed.code, failed.message) == (grpc.StatusCode.NOT_FOUND, "no such model")
    assert failed.trailing == {SERVED_BY: "embed@elsewhere:1"}


@pytest.mark.parametrize("text", ["is empty", "ist leer, wirklich vollständig leer " * 9, "空" * 400])
async def test_a_thousand_violations_still_arrive(text: str) -> None:
    """A status travels in headers of at most 8 KiB; beyond, callers see a transport error instead."""
    violations = [(f"inputs[{index}]", text) for index in range(1000)]
    async with served(failing(InvalidRequest(violations))) as up:
        failures = [await failure(up.client.unary()) for _ in range(20)]
    for failed in failures:
        assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert failed.violations[0][0] == "inputs[0]"


async def test_message_with_much_foreign_text_still_arrives() -> None:
    """Percent-encoding makes nine bytes of a Chinese character."""
    async with served(failing(CallError("模" * 1000, metadata={"model": "型" * 1000}))) as up:
        failures = [await failure(up.client.unary()) for _ in range(20)]
    assert {failed.reason for failed in failures} == {"INTERNAL"}


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_success_and_failure_tell_who_answered(kind: str) -> None:
    """With replicas behind a router that is the first thing to know about a strange answer."""
    async with served() as up:
        call = getattr(up.client, kind)()
        _ = [response async for response in call] if kind == "stream" else await call
        answered_by = dict(await call.trailing_metadata())[SERVED_BY]
        port = up.process.address.rpartition(":")[2]
    async with served(failing(InvalidRequest([("model", "is missing")]))) as up:
        failed_by = (await failure(getattr(up.client, kind)())).trailing[SERVED_BY]
    assert answered_by.startswith("test@")
    assert answered_by.endswith(f":{port}")
    assert failed_by.startswith("test@")


@pytest.mark.parametrize("method", ["/test.v1.TestService/Nothing", "/nobody.Knows/It", "/odd", "odd"])
async def test_unknown_method_is_unimplemented_with_a_reason(method: str) -> None:
    """A caller with a newer contract must be able to tell an old server from a broken one."""
    async with served() as up:
        failed = await failure(up.client.raw(method))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
