"""Embeddings over `/api/embed`."""

from __future__ import annotations

import json

import pytest
from ollama import EmbedResponse
from ollama._types import EmbedRequest

from services.chat.answer import Usage
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.embeddings import embed_body, read_embeddings


def test_a_request_has_what_is_set_and_cuts_nothing() -> None:
    """An embedding of half a text would be taken for that of the whole."""
    assert embed_body("m", ("a", "b"), None, None) == {"model": "m", "input": ["a", "b"], "truncate": False}
    body = embed_body("m", ("a",), 256, "10m")
    assert (body["dimensions"], body["keep_alive"]) == (256, "10m")
    assert EmbedRequest.model_validate(body).truncate is False


def test_embeddings_are_read() -> None:
    """What the official client reads is read here too."""
    data = {"embeddings": [[0.5, 1], [0.25, -2.0]], "prompt_eval_count": 7}
    EmbedResponse.model_validate(data)
    embeddings = read_embeddings(data, 2, 2)
    assert embeddings.vectors == [[0.5, 1], [0.25, -2.0]]
    assert embeddings.usage == Usage(input_tokens=7)


@pytest.mark.parametrize(
    "vectors",
    [None, [], [[1.0]], [[1.0], []], [[1.0], [None]], [[1.0], [True]], [[1.0], "x"], [[1.0], [2.0, 3.0]]],
)
def test_embeddings_that_are_not_one_for_each_input_are_malformed(vectors: object) -> None:
    """A vector more or less would give every text the embedding of another."""
    with pytest.raises(Failure) as caught:
        read_embeddings({"embeddings": vectors}, 2, None)
    assert caught.value.kind is FailureKind.MALFORMED


def test_numbers_that_are_none_are_malformed() -> None:
    """They would poison every comparison."""
    with pytest.raises(Failure):
        read_embeddings(json.loads('{"embeddings": [[NaN]]}'), 1, None)


def test_embeddings_that_were_not_shortened_are_refused() -> None:
    """Old versions do not know the parameter and ignore it."""
    with pytest.raises(Failure) as caught:
        read_embeddings({"embeddings": [[1.0, 2.0]]}, 1, 1)
    assert caught.value.kind is FailureKind.NOT_SUPPORTED
