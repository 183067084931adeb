"""Public names of `inglenook.feedback.v1`."""

from inglenook.feedback.v1.feedback_pb2 import (
    SendFeedbackRequest,
    SendFeedbackResponse,
)
from inglenook.feedback.v1.feedback_pb2_grpc import (
    FeedbackServiceServicer,
    FeedbackServiceStub,
    add_FeedbackServiceServicer_to_server,
)

__all__ = [
    "FeedbackServiceServicer",
    "FeedbackServiceStub",
    "SendFeedbackRequest",
    "SendFeedbackResponse",
    "add_FeedbackServiceServicer_to_server",
]
