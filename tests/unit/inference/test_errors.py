from __future__ import annotations

import pytest

from services.inference.errors import (
    MAX_NAME_LENGTH,
    DeadlinePassed,
    InferenceFailed,
    InputTooLong,
    InvalidInput,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    QueueFull,
)


def test_unknown_model_is_named_beside_the_known_ones() -> None:
    """Programs read the names from the metadata, people from the message."""
    error = ModelNotFound("mini-lm", ["minilm", "bge"])

    assert str(error) == "there is no model 'mini-lm'; models here: minilm, bge"
    assert error.metadata == {"models": "minilm,bge"}


def test_model_of_providers_is_told_apart_from_a_misspelt_name() -> None:
    """The name is right, and the wrong service was asked."""
    error = ModelNotFound("there", ["minilm"], by_providers=True)

    assert str(error) == (
        "model there is run by providers: the chat service answers for it; models here: minilm"
    )
    assert error.metadata == {"models": "minilm"}


@pytest.mark.parametrize(
    "name", ["x" * (MAX_NAME_LENGTH + 1), "two\nlines", "bell\x07", "naïve", "\u202egnp", "", "x" * 10_000]
)
def test_names_that_are_long_or_unprintable_are_not_repeated(name: str) -> None:
    """They are not names; repeating them would let callers write into other people's logs."""
    error = ModelNotFound(name, ["minilm"])

    assert str(error) == "there is no such model; models here: minilm"
    assert error.metadata == {"models": "minilm"}


def test_longest_allowed_name_is_repeated() -> None:
    """The limit is that of names in the configuration."""
    name = "x" * MAX_NAME_LENGTH

    assert name in str(ModelNotFound(name, []))


def test_texts_that_are_too_long_are_told_with_limit_and_lengths() -> None:
    """The metadata has the longest; the violations have each."""
    error = InputTooLong({"inputs[1]": 300, "inputs[7]": 513}, 256)

    assert str(error).startswith("inputs[1], inputs[7] too long: 513 tokens, 256 at most")
    assert error.metadata == {"maxInputTokens": "256", "inputTokens": "513"}
    assert error.violations == (
        ("inputs[1]", "has 300 tokens, 44 more than the model takes"),
        ("inputs[7]", "has 513 tokens, 257 more than the model takes"),
    )


def test_every_parameter_that_is_wrong_is_in_the_message() -> None:
    """Not every client shows the details."""
    error = InvalidInput([("inputs[3]", "must not be empty"), ("dimensions", "is 0, must be 1 to 32")])

    assert str(error) == "inputs[3] must not be empty; dimensions is 0, must be 1 to 32"
    assert error.retry_after_seconds is None


def test_errors_say_whether_waiting_helps() -> None:
    """Clients retry by it: what will fail again must not be retried."""
    waiting_helps = [ModelNotReady("a", "loading", 1.0), QueueFull(5, 5, 0.25)]
    in_vain = [
        ModelNotReady("a", "not loaded", None),
        ModelFailed("a", "damaged"),
        ModelNotFound("a", []),
        InvalidInput([("inputs", "must hold at least 1 text")]),
        InputTooLong({"inputs[0]": 9}, 8),
        InferenceFailed("inputs[0]"),
        DeadlinePassed(),
    ]

    assert [error.retry_after_seconds for error in waiting_helps] == [1.0, 0.25]
    assert {error.retry_after_seconds for error in in_vain} == {None}
