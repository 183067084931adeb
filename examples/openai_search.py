"""Find the text whose meaning is nearest to a question, with the embeddings of OpenAI's client."""

from __future__ import annotations

import argparse
import operator

from openai import OpenAI

TEXTS = (
    "Bank the embers with ash before you go to bed.",
    "The bakery on the corner sells rye bread on Tuesdays.",
    "Close the damper halfway once the flames are low.",
)


def main() -> None:
    """Embed the question and the texts, and print the texts with their similarities, best first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030/v1", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("question", nargs="?", default="How do I keep a fire going through the night?")
    given = parser.parse_args()

    client = OpenAI(base_url=given.url, api_key=given.api_key)
    # The client asks for base64 by itself and decodes it. Vectors have length 1.
    told = client.embeddings.create(model=given.model, input=[given.question, *TEXTS])
    question, *vectors = [one.embedding for one in told.data]
    scores = [sum(map(operator.mul, question, vector)) for vector in vectors]
    for score, text in sorted(zip(scores, TEXTS, strict=True), reverse=True):
        print(f"{score:.2f}  {text}")


if __name__ == "__main__":
    main()
