"""What can go wrong between a text and an answer.

    InferenceError
    ├── InvalidInput          a parameter is empty or out of range
    ├── InputTooLong          a text has more tokens than the model takes
    ├── ModelNotFound         no model here has that name
    ├── WrongCapability       a model has that name, but does something else
    ├── ModelNotReady         the model is being loaded, or is not loaded
    ├── ModelFailed           the model could not be loaded
    ├── QueueFull             too many inputs wait already
    ├── DeadlinePassed        the caller's deadline passed in the queue
    └── InferenceFailed       the model could not compute this input

What is wrong with a model's files is an `ArtifactProblem` of `services.artifacts`, kept as the reason of
ModelFailed.

Each error carries what a service needs to tell its caller: `reason`, `metadata`, `violations` and
`retry_after_seconds`. Messages never contain the text that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

MAX_NAME_LENGTH: Final = 128


class InferenceError(Exception):
    """Base of the errors that a caller sees.

    Attributes:
        reason: Stable name of what happened, in upper case.
        metadata: Facts for programs, in lowerCamelCase with the unit in the name.
        violations: Parameters that are wrong: path, as in `inputs[3]`, and what is wrong with it.
        retry_after_seconds: When the same call may succeed; None when waiting does not help.
    """

    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations: Sequence[tuple[str, str]] = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class InvalidInput(InferenceError):
    """A parameter is missing, empty or out of range; every one that is wrong is named."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        told = "; ".join(f"{parameter} {problem}" for parameter, problem in violations)
        super().__init__(told, violations=violations)


class InputTooLong(InferenceError):
    """Texts have more tokens than the model takes, and truncation was not asked for or does not help."""

    reason = "INPUT_TOO_LONG"

    def __init__(self, lengths: Mapping[str, int], limit: int, *, cut_helps: bool = True) -> None:
        violations = [
            (parameter, f"has {length} tokens, {length - limit} more than the model takes")
            for parameter, length in lengths.items()
        ]
        longest = max(lengths.values())
        advice = "shorten the text or ask for truncation" if cut_helps else "shorten it: it is never cut"
        super().__init__(
            f"{', '.join(lengths)} too long: {longest} tokens, {limit} at most; {advice}",
            metadata={"maxInputTokens": str(limit), "inputTokens": str(longest)},
            violations=violations,
        )


class ModelNotFound(InferenceError):
    """No model here has that name.

    Args:
        name: The name that was asked for.
        known: The names of the models here.
        by_providers: The configuration has a model of that name, which providers run.
    """

    reason = "MODEL_NOT_FOUND"

    def __init__(self, name: str, known: Sequence[str], *, by_providers: bool = False) -> None:
        names = ", ".join(known) or "none"
        told = f"there is no model {name!r}" if _is_printable_name(name) else "there is no such model"
        if by_providers:
            told = f"model {name} is run by providers: the chat service answers for it"
        super().__init__(f"{told}; models here: {names}", metadata={"models": ",".join(known)})


class WrongCapability(InferenceError):
    """A model has that name, but does something else than it was asked for."""

    reason = "WRONG_CAPABILITY"

    def __init__(self, name: str, capability: str, wanted: str) -> None:
        super().__init__(
            f"model {name} is for {capability}, not for {wanted}",
            metadata={"model": name, "capability": capability},
            violations=[("model", f"names a model for {capability}")],
        )


class ModelNotReady(InferenceError):
    """The model is being loaded, or is not loaded."""

    reason = "NOT_READY"

    def __init__(self, name: str, state: str, retry_after_seconds: float | None) -> None:
        super().__init__(
            f"model {name} is {state}", metadata={"model": name}, retry_after_seconds=retry_after_seconds
        )


class ModelFailed(InferenceError):
    """The model could not be loaded; the message says why."""

    reason = "MODEL_FAILED"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"model {name} could not be loaded: {problem}", metadata={"model": name})


class QueueFull(InferenceError):
    """Too many inputs wait for the model already."""

    reason = "QUEUE_FULL"

    def __init__(self, waiting: int, limit: int, retry_after_seconds: float) -> None:
        super().__init__(
            f"{waiting} inputs wait for the model, {limit} at most; try again shortly",
            metadata={"maxQueueSize": str(limit), "queueSize": str(waiting)},
            retry_after_seconds=retry_after_seconds,
        )


class DeadlinePassed(InferenceError):
    """The caller's deadline passed while its inputs waited."""

    reason = "DEADLINE"

    def __init__(self) -> None:
        super().__init__("the call's deadline passed while its inputs waited for the model")


class InferenceFailed(InferenceError):
    """The model could not compute an input. Its batch mates were not affected."""

    reason = "INFERENCE_FAILED"

    def __init__(self, parameter: str) -> None:
        super().__init__(
            f"the model could not compute {parameter}; the service's log says why",
            metadata={"parameter": parameter},
        )


def _is_printable_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isascii() and name.isprintable()
