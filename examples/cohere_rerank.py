"""Order documents by how well they answer a question, with Cohere's client."""

from __future__ import annotations

import argparse

import cohere

DOCUMENTS = [
    "The bakery on the corner sells rye bread on Tuesdays.",
    "Bank the embers with ash before you go to bed.",
    "Close the damper halfway once the flames are low.",
]


def main() -> None:
    """Rerank, and print the two best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="minilm-rerank")
    parser.add_argument("query", nargs="?", default="How do I keep a fire going through the night?")
    given = parser.parse_args()

    client = cohere.ClientV2(api_key=given.api_key, base_url=given.url)
    told = client.rerank(model=given.model, query=given.query, documents=DOCUMENTS, top_n=2)
    for one in told.results:
        print(f"{one.relevance_score:.2f}  {DOCUMENTS[one.index]}")


if __name__ == "__main__":
    main()
