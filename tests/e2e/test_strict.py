"""Requests that cannot be answered, to the embed service itself and through the router.

Each has its code, reason and field path, and a message that says what to do, the same on both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
import pytest
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest

from services.chassis.testing import FailedCall, read_failure
from services.cli.cluster import Cluster
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs

LIMITS = """
[limits]
max_client_batch_size = 4
max_queue_size = 4
max_message_bytes = 4096
max_input_characters = 1000
"""
EMBED = "/inglenook.embed.v1.EmbedService/Embed"
TOO_LONG = "cat " * 100
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.fixture(scope="module")
def cluster(start_cluster: Callable[..., Cluster]) -> Cluster:
    """Run one cluster with tight limits for all tests: none of them may harm it."""
    return start_cluster(more=LIMITS)


@pytest.fixture(params=["router", "embed"])
async def stubs(request: pytest.FixtureRequest, cluster: Cluster) -> AsyncIterator[Stubs]:
    """Call the embed service through the router, or itself."""
    service = getattr(cluster.file.configuration.services, request.param)
    async with grpc.aio.insecure_channel(service.listen, OWN_CONNECTION) as channel:
        yield Stubs(channel)


@dataclass(frozen=True)
class Wrong:
    """A request that is refused.

    Attributes:
        request: The request.
        fields: Path of every field that is named.
        told: What the message has to contain.
        status: Code and reason.
        metadata: What programs are told.
    """

    request: EmbedRequest
    fields: tuple[str, ...] = ()
    told: str = ""
    status: tuple[grpc.StatusCode, str] = INVALID
    metadata: tuple[tuple[str, str], ...] = ()


def request(*inputs: str, model: str = "tiny", **more: int) -> EmbedRequest:
    """Return a request."""
    return EmbedRequest(model=model, inputs=inputs, **more)  # type: ignore[arg-type]  # enum numbers are numbers


WRONG = {
    "no inputs": Wrong(request(), ("inputs",), "at least 1"),
    "an empty string": Wrong(request("a", "b", "c", ""), ("inputs[3]",), "must not be empty"),
    "white space only": Wrong(request("a", " \t\n"), ("inputs[1]",), "must not be empty"),
    "several empty strings": Wrong(request("", "a", ""), ("inputs[0]", "inputs[2]"), "inputs[2]"),
    "too many inputs": Wrong(request(*"abcde"), ("inputs",), "has 5 texts, 4 at most"),
    "far too many characters": Wrong(request("a" * 1001), ("inputs[0]",), "1000 at most"),
    "no dimensions": Wrong(request("a", dimensions=0), ("dimensions",), "1 to 32"),
    "too many dimensions": Wrong(request("a", dimensions=10_000), ("dimensions",), "1 to 32"),
    "negative dimensions": Wrong(request("a", dimensions=-1), ("dimensions",), "1 to 32"),
    "two mistakes": Wrong(request("", dimensions=0), ("inputs[0]", "dimensions"), "1 to 32"),
    "an unknown input type": Wrong(request("a", input_type=99), ("input_type",), "input_type"),
    "an unknown encoding": Wrong(request("a", encoding=99), ("encoding",), "encoding"),
    "an unknown truncation": Wrong(request("a", truncation=99), ("truncation",), "truncation"),
    "an unknown model": Wrong(
        request("a", model="tinny"),
        told="models here: tiny",
        status=(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        metadata=(("models", "tiny"),),
    ),
    "too long": Wrong(
        request("a", TOO_LONG),
        ("inputs[1]",),
        "truncation",
        (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_TOO_LONG"),
        (("inputTokens", "102"), ("maxInputTokens", "64")),
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_request_is_refused_with_reason_fields_and_advice(stubs: Stubs, wrong: Wrong) -> None:
    """Code, reason and field path are exact, the message helps, and it was the embed service that refused."""
    failed = await stubs.refusal(wrong.request)
    assert (failed.code, failed.reason, failed.domain) == (*wrong.status, "inglenook")
    assert tuple(field for field, _ in failed.violations) == wrong.fields
    assert wrong.told in failed.message
    assert tuple(sorted(failed.metadata.items())) == wrong.metadata
    assert failed.trailing["inglenook-served-by"].startswith("embed@")


async def test_refusals_never_repeat_what_the_caller_sent(stubs: Stubs) -> None:
    """Texts stay out of statuses, and so out of logs and traces."""
    for inputs in ([f"secret {TOO_LONG}"], ["secret", ""], ["secret" * 200]):
        failed = await stubs.refusal(request(*inputs))
        assert "secret" not in failed.message
        assert not any("secret" in told for _, told in failed.violations)


@pytest.mark.parametrize("side", [Truncation.TRUNCATION_RIGHT, Truncation.TRUNCATION_LEFT])
async def test_a_long_text_is_taken_when_truncation_is_asked_for(
    stubs: Stubs, side: Truncation.ValueType
) -> None:
    """What is left counts: as many tokens as the model takes."""
    response = await stubs.ask(EmbedRequest(model="tiny", inputs=[TOO_LONG], truncation=side))
    assert response.usage.input_tokens == 64
    assert len(response.embeddings[0].values) == 32


async def test_a_deadline_that_is_already_gone_ends_the_call(stubs: Stubs) -> None:
    """DEADLINE_EXCEEDED at once; nothing hangs. Below zero, because with zero a fast answer may win."""
    async with asyncio.timeout(LIMIT_SECONDS):
        failed = await stubs.refusal(request("a"), seconds=-1)
    assert failed.code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("size", [4097, 4 * 4096 + 1, 200_000])
async def test_a_message_that_is_too_large_is_refused(stubs: Stubs, size: int) -> None:
    """Code RESOURCE_EXHAUSTED whoever refuses it; up to four times the limit both sizes are told."""
    content = bytes(size)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.channel.unary_unary(EMBED)(content, timeout=LIMIT_SECONDS)  # type: ignore[arg-type]  # typed for messages
    failed = read_failure(raised.value)
    assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    if size <= 4 * 4096:
        assert failed.reason == "MESSAGE_TOO_LARGE"
        assert failed.metadata == {"maxMessageBytes": "4096", "messageBytes": str(size)}
        assert "fewer inputs" in failed.message


async def test_bytes_that_are_no_message_are_the_callers_mistake(stubs: Stubs) -> None:
    """INVALID_REQUEST with a hint at the contract, not an internal error."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.channel.unary_unary(EMBED)(b"\xff\xff\xff", timeout=LIMIT_SECONDS)  # type: ignore[arg-type]  # typed for messages
    failed = read_failure(raised.value)
    assert (failed.code, failed.reason) == INVALID
    assert "contract" in failed.message


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(stubs: Stubs) -> None:
    """Of a burst some calls are answered; every other one gets QUEUE_FULL with RetryInfo and the limit."""

    async def attempt(number: int) -> FailedCall | None:
        try:  # no two ask for the same, which would be computed once for all of them
            await stubs.ask(
                request(*(f"{text} {number}" for text in ("the cat sits", "a dog", "runs", "green")))
            )
        except grpc.aio.AioRpcError as error:
            return read_failure(error)
        return None

    outcomes = await asyncio.gather(*map(attempt, range(150)))
    failures = [one for one in outcomes if one is not None]
    assert 0 < len(failures) < len(outcomes)
    for failed in failures:
        assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert failed.retry_after_seconds is not None
        assert failed.retry_after_seconds > 0
        assert failed.metadata["maxQueueSize"] == "4"
        assert "try again" in failed.message
    assert len((await stubs.ask(request("a"))).embeddings) == 1
