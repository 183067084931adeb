"""Public names of `inglenook.nli.v1`."""

from inglenook.nli.v1.nli_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
    Pair,
    RawScores,
)
from inglenook.nli.v1.nli_pb2_grpc import (
    NliServiceServicer,
    NliServiceStub,
    add_NliServiceServicer_to_server,
)

__all__ = [
    "ClassifyRequest",
    "ClassifyResponse",
    "ClassifyResult",
    "InferRequest",
    "InferResponse",
    "InferResult",
    "LabelScore",
    "NliServiceServicer",
    "NliServiceStub",
    "Pair",
    "RawScores",
    "add_NliServiceServicer_to_server",
]
