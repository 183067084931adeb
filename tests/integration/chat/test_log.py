"""The line in the log that tells of an answer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import ChatRequest, CompleteRequest

from services.chassis.logs import JsonFormatter
from tests.support.fault_actions import answer, refuse
from tests.support.fault_chat import LIMIT_SECONDS, Plot, question, staged

LABELS: Final = {"team": "garden", "purpose": "a trial"}


def written(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the lines about answers, as the service writes them."""
    formatter = JsonFormatter("chat")
    records = [record for record in caplog.records if record.getMessage() == "answered"]
    return [json.loads(formatter.format(record)) for record in records]


@pytest.mark.parametrize("method", ["Chat", "Complete"])
async def test_labels_of_a_call_are_in_the_log_and_are_not_sent_to_providers(
    method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With who answered, tokens, cost and the id of the answer; one line for an answer."""
    caplog.set_level(logging.INFO, "services.chat")
    async with staged(tmp_path, Plot((answer(["What only the caller may read"]),))) as stage:
        if method == "Chat":
            events = stage.stub.Chat(ChatRequest(**question(), metadata=LABELS), timeout=LIMIT_SECONDS)
            identity, *_ = [event.start.response_id async for event in events]
        else:
            request = CompleteRequest(**question(), metadata=LABELS)
            identity = (await stage.stub.Complete(request, timeout=LIMIT_SECONDS)).response_id
        (received,) = stage.primary.received
    (line,) = written(caplog)
    assert identity.startswith("resp_")
    assert {
        name: line[name] for name in ("response_id", "target", "attempts", "labels", "cost_nano_usd")
    } == {
        "response_id": identity,
        "target": "primary/fault-model",
        "attempts": 1,
        "labels": LABELS,
        "cost_nano_usd": 0,
    }
    assert line["output_tokens"] == 1
    assert "What only" not in json.dumps(line)
    assert not any(value.encode() in received.content for value in (*LABELS, *LABELS.values()))


async def test_call_that_fails_is_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There is no such line for it."""
    caplog.set_level(logging.INFO, "services.chat")
    async with staged(tmp_path, Plot(((refuse(401, "no"),),))) as stage:
        request = CompleteRequest(**question("alone"), metadata=LABELS)
        with pytest.raises(grpc.aio.AioRpcError, match="refuses the key"):
            await stage.stub.Complete(request, timeout=LIMIT_SECONDS)
    assert written(caplog) == []


async def test_attempt_that_fails_is_told_with_its_reason_and_without_a_word_of_the_provider(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever runs the service has to learn that a key is wrong, also where another target answers."""
    caplog.set_level(logging.INFO, "services.chat")
    async with staged(tmp_path, Plot(((refuse(401, "no, Sir"),),))) as stage:
        request = CompleteRequest(**question("alone"))
        with pytest.raises(grpc.aio.AioRpcError):
            await stage.stub.Complete(request, timeout=LIMIT_SECONDS)
    formatter = JsonFormatter("chat")
    records = [record for record in caplog.records if record.getMessage() == "attempt failed"]
    (line,) = [json.loads(formatter.format(record)) for record in records]
    assert {name: line[name] for name in ("target", "reason", "upstream_status")} == {
        "target": "primary/fault-model",
        "reason": "UPSTREAM_AUTH",
        "upstream_status": 401,
    }
    assert "retry_after_seconds" not in line  # what is not known is left out
    assert "refuses the key" in line["detail"]
    assert "Sir" not in json.dumps(line)
