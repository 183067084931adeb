"""Public names of `inglenook.rerank.v1`."""

from inglenook.rerank.v1.rerank_pb2 import (
    RerankRequest,
    RerankResponse,
    RerankResult,
)
from inglenook.rerank.v1.rerank_pb2_grpc import (
    RerankServiceServicer,
    RerankServiceStub,
    add_RerankServiceServicer_to_server,
)

__all__ = [
    "RerankRequest",
    "RerankResponse",
    "RerankResult",
    "RerankServiceServicer",
    "RerankServiceStub",
    "add_RerankServiceServicer_to_server",
]
