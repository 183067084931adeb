"""Which gRPC service of the contract stands for which capability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from inglenook.chat.v1 import chat_pb2
from inglenook.common.v1 import Capability as WireCapability
from inglenook.embed.v1 import embed_pb2
from inglenook.model.v1 import model_pb2
from inglenook.nli.v1 import nli_pb2
from inglenook.rerank.v1 import rerank_pb2
from inglenook.router.v1 import router_pb2

from services.chassis.errors import InvalidRequest
from services.config import Capability

WIRE: Final[Mapping[Capability, WireCapability.ValueType]] = {
    "chat": WireCapability.CAPABILITY_CHAT,
    "embed": WireCapability.CAPABILITY_EMBED,
    "rerank": WireCapability.CAPABILITY_RERANK,
    "nli": WireCapability.CAPABILITY_NLI,
}

SERVICES: Final[Mapping[Capability, ServiceDescriptor]] = {
    "chat": chat_pb2.DESCRIPTOR.services_by_name["ChatService"],
    "embed": embed_pb2.DESCRIPTOR.services_by_name["EmbedService"],
    "rerank": rerank_pb2.DESCRIPTOR.services_by_name["RerankService"],
    "nli": nli_pb2.DESCRIPTOR.services_by_name["NliService"],
}

MODEL_SERVICE: Final[ServiceDescriptor] = model_pb2.DESCRIPTOR.services_by_name["ModelService"]
ROUTER_SERVICE: Final[ServiceDescriptor] = router_pb2.DESCRIPTOR.services_by_name["RouterService"]

_SAFE: Final = frozenset(
    f"/{service.full_name}/{method.name}"
    for service in (*SERVICES.values(), MODEL_SERVICE, ROUTER_SERVICE)
    for method in service.methods
    if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
)


def is_safe(method: str) -> bool:
    """Say whether the contract marks `/package.Service/Method` NO_SIDE_EFFECTS: it may be made twice."""
    return method in _SAFE


def wanted(number: int) -> list[Capability]:
    """Return the capabilities that the filter of a request means: one, or all of them if it is not set.

    Raises:
        InvalidRequest: The contract defines no capability of that number.
    """
    if number == WireCapability.CAPABILITY_UNSPECIFIED:
        return list(WIRE)
    if found := [capability for capability, value in WIRE.items() if value == number]:
        return found
    raise InvalidRequest([("capability", "has a value that this version does not know")])
