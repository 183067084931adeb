"""The engine knows no gRPC: that its errors become the right status is a matter of shape, proven here."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.artifacts import ArtifactProblem
from services.chassis.errors import CODES, Explained, Reason
from services.chassis.status import DETAILS_KEY, explained_status
from services.inference.errors import (
    DeadlinePassed,
    InferenceError,
    InferenceFailed,
    InputTooLong,
    InvalidInput,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    QueueFull,
    WrongCapability,
)

EXAMPLES = [
    (InvalidInput([("inputs[3]", "must not be empty")]), grpc.StatusCode.INVALID_ARGUMENT),
    (InputTooLong({"inputs[1]": 300}, 256), grpc.StatusCode.INVALID_ARGUMENT),
    (ModelNotFound("a", ["b"]), grpc.StatusCode.NOT_FOUND),
    (WrongCapability("a", "embed", "rerank"), grpc.StatusCode.INVALID_ARGUMENT),
    (ModelNotReady("a", "loading", 1.5), grpc.StatusCode.UNAVAILABLE),
    (ModelFailed("a", "model.onnx is damaged"), grpc.StatusCode.UNAVAILABLE),
    (QueueFull(5, 5, 0.25), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlinePassed(), grpc.StatusCode.DEADLINE_EXCEEDED),
    (InferenceFailed("inputs[2]"), grpc.StatusCode.INTERNAL),
]


def subclasses(kind: type[InferenceError]) -> Iterator[type[InferenceError]]:
    """Yield all classes below `kind`."""
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def test_every_error_of_the_engine_has_a_reason_that_the_chassis_knows() -> None:
    """An unknown reason would turn a helpful error into an internal one, at the worst moment."""
    for kind in subclasses(InferenceError):
        assert kind.reason in set(Reason), kind.__name__
        assert kind.reason != Reason.INTERNAL, kind.__name__
        assert Reason(kind.reason) in CODES


def test_every_error_of_the_engine_has_an_example_here() -> None:
    """An error that is added later must be added to the examples."""
    assert {type(error) for error, _ in EXAMPLES} == set(subclasses(InferenceError))


@pytest.mark.parametrize(("error", "code"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_error_becomes_its_status(error: InferenceError, code: grpc.StatusCode) -> None:
    """Reason, metadata, violations and retry delay arrive as `google.rpc` details."""
    assert isinstance(error, Explained)

    status = explained_status(error)

    ((key, encoded),) = status.trailing_metadata
    assert isinstance(encoded, bytes)
    details = status_pb2.Status.FromString(encoded)
    info = error_details_pb2.ErrorInfo()
    assert details.details[0].Unpack(info)
    assert (key, status.code, details.code) == (DETAILS_KEY, code, code.value[0])
    assert status.message == details.message == str(error)
    assert (info.reason, info.domain, dict(info.metadata)) == (error.reason, "inglenook", error.metadata)
    assert len(details.details) == 1 + bool(error.violations) + (error.retry_after_seconds is not None)


def test_problem_of_artifacts_is_not_shown_by_itself() -> None:
    """It reaches callers as the reason of ModelFailed; escaping, it would be a bug like any other."""
    assert not isinstance(ArtifactProblem("no folder"), Explained)
