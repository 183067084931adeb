"""Public names of `inglenook.model.v1`."""

from inglenook.model.v1.model_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)
from inglenook.model.v1.model_pb2_grpc import (
    ModelServiceServicer,
    ModelServiceStub,
    add_ModelServiceServicer_to_server,
)

__all__ = [
    "CountTokensRequest",
    "CountTokensResponse",
    "GetModelRequest",
    "GetModelResponse",
    "ListModelsRequest",
    "ListModelsResponse",
    "LoadModelRequest",
    "LoadModelResponse",
    "ModelServiceServicer",
    "ModelServiceStub",
    "UnloadModelRequest",
    "UnloadModelResponse",
    "add_ModelServiceServicer_to_server",
]
