"""Ask with OpenAI's client: an answer as it is written, then one that is an object."""

from __future__ import annotations

import argparse

from openai import OpenAI
from pydantic import BaseModel


class Recipe(BaseModel):
    """What the second answer is: the cluster holds the model to this schema."""

    dish: str
    minutes: int


def main() -> None:
    """Ask twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030/v1", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="assistant")
    given = parser.parse_args()

    client = OpenAI(base_url=given.url, api_key=given.api_key)
    stream = client.chat.completions.create(
        model=given.model,
        messages=[{"role": "user", "content": "What is an inglenook?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        elif chunk.usage:
            print(f"\n({chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out)")

    told = client.chat.completions.parse(
        model=given.model,
        messages=[{"role": "user", "content": "What can be cooked over embers?"}],
        response_format=Recipe,
    )
    print(repr(told.choices[0].message.parsed))


if __name__ == "__main__":
    main()
