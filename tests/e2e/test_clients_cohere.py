"""Cohere's clients, the present one and the one before, as they are installed, against `/rerank`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import cohere
import pytest

from tests.support.client_cluster import KEY, ClientCluster

QUERY: Final = "How do I keep a fire going through the night?"
DOCUMENTS: Final = [
    "The bakery on the corner sells rye bread on Tuesdays.",
    "Bank the embers with ash before you go to bed.",
    "Close the damper halfway once the flames are low.",
]
BEST: Final = [2, 1, 0]
ASKED: Final[dict[str, Any]] = {"model": "minilm-rerank", "query": QUERY, "documents": DOCUMENTS}


def connecting(cluster: ClientCluster, key: str = KEY) -> dict[str, Any]:
    """Return what a client needs to know; it asks once."""
    return {"api_key": key, "base_url": f"http://{cluster.http}", "max_retries": 0, "timeout": 20}


@pytest.fixture
def client(clients: ClientCluster) -> Iterator[cohere.Client]:
    """Connect the client that speaks of version 1."""
    with cohere.Client(**connecting(clients)) as client:
        yield client


def test_documents_come_best_first(client: cohere.Client) -> None:
    """With scores from 0 to 1, and the texts where they are asked for."""
    told = client.rerank(**ASKED, return_documents=True)
    assert [one.index for one in told.results] == BEST
    scores = [one.relevance_score for one in told.results]
    assert 1 >= scores[0] >= scores[1] >= scores[2] >= 0
    assert [one.document.text for one in told.results if one.document] == [DOCUMENTS[place] for place in BEST]


def test_documents_may_be_objects_and_results_few(client: cohere.Client) -> None:
    """As the client allows."""
    documents = [{"text": text} for text in DOCUMENTS]
    told = client.rerank(**{**ASKED, "documents": documents, "top_n": 1})
    assert [one.index for one in told.results] == BEST[:1]


def test_the_present_client_gets_the_same_answer(clients: ClientCluster, client: cohere.Client) -> None:
    """Its version of the API has another path and sends no objects."""
    with cohere.ClientV2(**connecting(clients)) as present:
        found = present.rerank(**ASKED, top_n=2)
    expected = client.rerank(**ASKED, top_n=2)
    assert [one.index for one in found.results] == [one.index for one in expected.results]
    for mine, other in zip(found.results, expected.results, strict=True):
        assert mine.relevance_score == pytest.approx(other.relevance_score, abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"model": "nobody"}, cohere.NotFoundError),
        ({"model": "minilm"}, cohere.BadRequestError),
        ({"query": " "}, cohere.BadRequestError),
        ({"documents": []}, cohere.BadRequestError),
    ],
)
def test_an_error_is_one_of_the_clients_own(
    client: cohere.Client, asked: dict[str, Any], kind: type[Exception]
) -> None:
    """By its HTTP status."""
    with pytest.raises(kind):
        client.rerank(**{**ASKED, **asked})


def test_a_wrong_key_is_refused(clients: ClientCluster) -> None:
    """With the exception that the client has for it."""
    wrong = connecting(clients, "not-one-of-ours")
    with cohere.Client(**wrong) as client, pytest.raises(cohere.UnauthorizedError):
        client.rerank(**ASKED)
