"""What the tool knows of capabilities: their gRPC services, and which of them run models of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from inglenook.chat.v1 import chat_pb2
from inglenook.embed.v1 import embed_pb2
from inglenook.nli.v1 import nli_pb2
from inglenook.rerank.v1 import rerank_pb2

from services.config import Capability

SERVICES: Final[Mapping[Capability, str]] = {
    "chat": chat_pb2.DESCRIPTOR.services_by_name["ChatService"].full_name,
    "embed": embed_pb2.DESCRIPTOR.services_by_name["EmbedService"].full_name,
    "rerank": rerank_pb2.DESCRIPTOR.services_by_name["RerankService"].full_name,
    "nli": nli_pb2.DESCRIPTOR.services_by_name["NliService"].full_name,
}
"""Full name of the gRPC service that has a capability."""

ENGINES: Final[tuple[Capability, ...]] = ("embed", "rerank", "nli")
"""Capabilities of models that run here; the service process of each has its name."""

PROCESSES: Final[tuple[Capability, ...]] = (*ENGINES, "chat")
"""Service processes behind the router, in the order in which they are started."""
