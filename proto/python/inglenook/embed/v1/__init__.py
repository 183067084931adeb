"""Public names of `inglenook.embed.v1`."""

from inglenook.embed.v1.embed_pb2 import (
    ENCODING_FLOAT,
    ENCODING_FLOAT32,
    ENCODING_UNSPECIFIED,
    EmbedRequest,
    EmbedResponse,
    Embedding,
    Encoding,
    INPUT_TYPE_DOCUMENT,
    INPUT_TYPE_QUERY,
    INPUT_TYPE_UNSPECIFIED,
    InputType,
    TokenInput,
)
from inglenook.embed.v1.embed_pb2_grpc import (
    EmbedServiceServicer,
    EmbedServiceStub,
    add_EmbedServiceServicer_to_server,
)

__all__ = [
    "ENCODING_FLOAT",
    "ENCODING_FLOAT32",
    "ENCODING_UNSPECIFIED",
    "EmbedRequest",
    "EmbedResponse",
    "EmbedServiceServicer",
    "EmbedServiceStub",
    "Embedding",
    "Encoding",
    "INPUT_TYPE_DOCUMENT",
    "INPUT_TYPE_QUERY",
    "INPUT_TYPE_UNSPECIFIED",
    "InputType",
    "TokenInput",
    "add_EmbedServiceServicer_to_server",
]
