"""Let a model call a function of this program, with OpenAI's client."""

from __future__ import annotations

import argparse
import json

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "temperature",
        "description": "Tells how warm it is in a city now, in degrees Celsius.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def temperature(city: str) -> str:
    """Return what the model is told; a real one would look it up."""
    return {"Oslo": "4 degrees in Oslo", "Rome": "19 degrees in Rome"}.get(city, f"unknown in {city}")


def main() -> None:
    """Ask, call what the model wants called, and ask again with the results until there is an answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030/v1", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="assistant")
    given = parser.parse_args()

    client = OpenAI(base_url=given.url, api_key=given.api_key)
    question = "How warm is it in Oslo and in Rome?"
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    while True:
        told = client.chat.completions.create(model=given.model, messages=messages, tools=[TOOL])
        message = told.choices[0].message
        if not message.tool_calls:
            break
        messages.append(message.model_dump(exclude_none=True))  # type: ignore[arg-type]  # as it came
        for call in message.tool_calls:
            if call.type == "function":
                print(f"calls {call.function.name}({call.function.arguments})")
                result = temperature(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    print(message.content)


if __name__ == "__main__":
    main()
