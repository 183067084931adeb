"""A program as another team would write it: it has the stubs and nothing else of this repository.

The tests run it, and have mypy read it, in virtual environments where only `inglenook-protos` is installed.
It prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata, resources

import grpc
import inglenook
from google.protobuf.message import Message as ProtobufMessage
from inglenook.chat.v1 import ROLE_USER, ChatEvent, ChatRequest, Delta, Message, Part
from inglenook.common.v1 import Capability, Timings, Truncation, Usage
from inglenook.embed.v1 import (
    Embedding,
    EmbedRequest,
    EmbedResponse,
    EmbedServiceServicer,
    EmbedServiceStub,
    Encoding,
    add_EmbedServiceServicer_to_server,
)
from inglenook.feedback.v1 import SendFeedbackRequest
from inglenook.model.v1 import ListModelsRequest
from inglenook.nli.v1 import InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest, RerankServiceStub
from inglenook.router.v1 import Backend, BackendState, ListBackendsResponse

NOUNS = ("chat", "common", "embed", "feedback", "model", "nli", "rerank", "router")
SECONDS = 10.0


class Embedder(EmbedServiceServicer):
    """Embeds a text as its length and the number of its words."""

    def Embed(self, request: EmbedRequest, context: grpc.ServicerContext) -> EmbedResponse:
        """Answer in the encoding that was asked for."""
        if not request.inputs:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "inputs must hold at least 1 text")
        vectors = [(float(len(text)), float(len(text.split()))) for text in request.inputs]
        packed = request.encoding == Encoding.ENCODING_FLOAT32
        return EmbedResponse(
            embeddings=[
                Embedding(packed=struct.pack("<2f", *vector)) if packed else Embedding(values=vector)
                for vector in vectors
            ],
            model=request.model,
            usage=Usage(input_tokens=sum(int(words) for _, words in vectors)),
            timings=Timings(),
        )


def round_trips() -> int:
    """Send messages of every package through bytes and back; return how many kinds there were."""
    filled: list[ProtobufMessage] = [
        ChatRequest(messages=[Message(role=ROLE_USER, parts=[Part(text="hello")])], temperature=0.0),
        ChatEvent(delta=Delta(text="hi")),
        EmbedRequest(inputs=["a"], normalize=False, truncation=Truncation.TRUNCATION_LEFT),
        SendFeedbackRequest(response_id="r", metric="helpful", boolean=True, tags={"by": "a person"}),
        ListModelsRequest(capability=Capability.CAPABILITY_NLI),
        InferRequest(pairs=[Pair(premise="it rains", hypothesis="it is wet")]),
        RerankRequest(query="q", documents=["a", "b"], top_n=1),
        ListBackendsResponse(backends=[Backend(state=BackendState.BACKEND_STATE_EJECTED, tier=1)]),
    ]
    for message in filled:
        check(type(message).FromString(message.SerializeToString()) == message, type(message).__name__)
    kinds = 0
    for noun in NOUNS:
        package = importlib.import_module(f"inglenook.{noun}.v1")
        for kind in (getattr(package, name) for name in package.__all__):
            if isinstance(kind, type) and issubclass(kind, ProtobufMessage):
                check(kind.FromString(kind().SerializeToString()) == kind(), kind.__name__)
                kinds += 1
    return kinds


def talk(address: str) -> None:
    """Call the server as the stubs' README shows, plain and packed, and be refused."""
    with grpc.insecure_channel(address) as channel:
        stub = EmbedServiceStub(channel)
        reply = stub.Embed(EmbedRequest(model="m", inputs=["a cosy corner"]), timeout=SECONDS)
        check(list(reply.embeddings[0].values) == [13.0, 3.0], "values")
        check(reply.usage.input_tokens == 3 and reply.usage.HasField("input_tokens"), "usage")
        check(not reply.usage.HasField("output_tokens"), "an absent field")
        refused = failure(lambda: stub.Embed(EmbedRequest(), timeout=SECONDS))
        check(refused == grpc.StatusCode.INVALID_ARGUMENT, "a refusal")
        rerank = RerankServiceStub(channel).Rerank
        missing = failure(lambda: rerank(RerankRequest(query="q"), timeout=SECONDS))
        check(missing == grpc.StatusCode.UNIMPLEMENTED, "a service that is not there")


def failure(call: Callable[[], object]) -> grpc.StatusCode | None:
    """Return the code that a call fails with, None if it does not."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return None


async def talk_async(address: str) -> None:
    """Call the server with the same stub over an asyncio channel."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = EmbedRequest(inputs=["one", "two words"], encoding=Encoding.ENCODING_FLOAT32)
        reply = await EmbedServiceStub(channel).Embed(request, timeout=SECONDS)
        unpacked = [struct.unpack("<2f", one.packed) for one in reply.embeddings]
        check(unpacked == [(3.0, 1.0), (9.0, 2.0)], "packed")


def check(holds: bool, what: str) -> None:
    """End the program unless `holds`."""
    if not holds:
        sys.exit(f"wrong: {what}")


def main() -> None:
    """Serve and call in one process, then tell what this was."""
    kinds = round_trips()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    add_EmbedServiceServicer_to_server(Embedder(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        talk(address)
        asyncio.run(talk_async(address))
    finally:
        server.stop(None).wait()
    descriptors = resources.files("inglenook") / "inglenook.binpb"
    found = {
        "versions": {name: metadata.version(name) for name in ("grpcio", "protobuf", "inglenook-protos")},
        "origins": [
            getattr(importlib.import_module(f"inglenook.{noun}.v1"), "__file__", "") for noun in NOUNS
        ],
        "is_namespace": getattr(inglenook, "__file__", None) is None,
        "message_kinds": kinds,
        "descriptor_bytes": len(descriptors.read_bytes()),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
