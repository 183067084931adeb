"""Search by meaning with a vector store of LangChain and the cluster's embeddings."""

from __future__ import annotations

import argparse

from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

TEXTS = [
    "Bank the embers with ash before you go to bed.",
    "The bakery on the corner sells rye bread on Tuesdays.",
    "Close the damper halfway once the flames are low.",
]


def main() -> None:
    """Fill the store, and ask it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030/v1", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("question", nargs="?", default="How do I keep a fire going through the night?")
    given = parser.parse_args()

    embeddings = OpenAIEmbeddings(
        openai_api_base=given.url,
        openai_api_key=SecretStr(given.api_key),
        model=given.model,
        # Otherwise it sends tokens of OpenAI's models, which it fetches a vocabulary for, instead of text.
        check_embedding_ctx_length=False,
    )
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    for document, score in store.similarity_search_with_score(given.question, k=2):
        print(f"{score:.2f}  {document.page_content}")


if __name__ == "__main__":
    main()
