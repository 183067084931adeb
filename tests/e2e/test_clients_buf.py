"""`buf curl`, which calls as grpcurl does, against the cluster that `make up` runs."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any, Final

import pytest
from google.rpc import error_details_pb2

from tests.support.client_cluster import KEY, WORDS, ClientCluster
from tests.support.offline import ROOT

TOOL: Final = (str(ROOT / "node_modules" / ".bin" / "buf"), "curl", "--protocol", "grpc")
PLAIN: Final = "--http2-prior-knowledge"
SECONDS: Final = 20
SCHEMAS: Final[dict[str, tuple[str, ...]]] = {
    "reflection": (),
    "sources": ("--schema", "proto"),
    "descriptors": ("--schema", "proto/inglenook.binpb"),
}
"""Where it learns what messages look like."""
EMBED: Final = "inglenook.embed.v1.EmbedService/Embed"
QUESTION: Final = {"role": "ROLE_USER", "parts": [{"text": "What is an inglenook?"}]}


def curl(cluster: ClientCluster, *arguments: str, method: str = "") -> subprocess.CompletedProcess[str]:
    """Call a method of the router."""
    command = [*TOOL, PLAIN, *arguments, f"http://{cluster.grpc}/{method}".removesuffix("/")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


def answers(cluster: ClientCluster, method: str, request: Any, *arguments: str) -> list[Any]:
    """Call a method, which must not fail, and return the messages that came."""
    done = curl(cluster, "--data", json.dumps(request), *arguments, method=method)
    assert done.returncode == 0, done.stderr
    decoder, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        message, end = decoder.raw_decode(rest)
        found.append(message)
        rest = rest[end:].lstrip()
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
def test_embeddings_come_wherever_the_schema_is_from(clients: ClientCluster, schema: str) -> None:
    """From the router itself, from the `.proto` files as they are, and from the descriptor set."""
    request = {"model": "minilm", "inputs": ["a quiet corner by the fire"], "dimensions": 8}
    (answer,) = answers(clients, EMBED, request, *SCHEMAS[schema])
    (embedding,) = answer["embeddings"]
    assert sum(value**2 for value in embedding["values"]) == pytest.approx(1, abs=1e-4)
    assert len(embedding["values"]) == 8


def test_a_stream_is_printed_event_by_event(clients: ClientCluster) -> None:
    """Beginning with who answers, and ending with why it ended."""
    request = {"model": "assistant", "messages": [QUESTION]}
    events = answers(clients, "inglenook.chat.v1.ChatService/Chat", request)
    assert events[0]["start"]["provider"] == "ollama"
    assert "".join(event["delta"]["text"] for event in events if "delta" in event) == "".join(WORDS)
    assert events[-1]["finish"]["reason"] == "FINISH_REASON_STOP"


def test_the_router_tells_of_its_backends(clients: ClientCluster) -> None:
    """One for each capability, and what can be asked for."""
    (listed,) = answers(clients, "inglenook.router.v1.RouterService/ListBackends", {})
    assert {one["name"] for one in listed["backends"]} == {"chat", "embed", "rerank", "nli"}
    (status,) = answers(clients, "inglenook.router.v1.RouterService/GetStatus", {})
    assert all(one["available"] for one in status["capabilities"])


def test_methods_are_listed(clients: ClientCluster) -> None:
    """As an explorer of any reflecting server would."""
    listed = curl(clients, "--list-methods").stdout.split()
    assert {EMBED, "inglenook.router.v1.RouterService/GetStatus", "grpc.health.v1.Health/Check"} <= set(
        listed
    )


def test_an_error_comes_with_its_details(clients: ClientCluster) -> None:
    """In the types that every gRPC client knows."""
    refused = curl(clients, "--data", '{"model": "minilm", "inputs": ["a", " "]}', method=EMBED)
    told = json.loads(refused.stderr)
    assert refused.returncode != 0
    assert told["code"] == "invalid_argument"
    details = {one["type"]: base64.b64decode(one["value"] + "==") for one in told["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    bad = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
    assert info.reason == "INVALID_REQUEST"
    assert [one.field for one in bad.field_violations] == ["inputs[1]"]


@pytest.mark.parametrize(("key", "code"), [(KEY, None), ("not-one-of-ours", "unauthenticated")])
def test_a_key_travels_in_a_header(clients: ClientCluster, key: str, code: str | None) -> None:
    """The right one opens, a wrong one does not."""
    done = curl(clients, "--header", f"authorization: Bearer {key}", "--data", "{}",
                method="inglenook.router.v1.RouterService/GetStatus")  # fmt: skip
    assert (json.loads(done.stderr)["code"] if done.returncode else None) == code
