"""Chat through LangChain: whole, as it is written, with a tool, and as an object."""

from __future__ import annotations

import argparse

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr


class Recipe(BaseModel):
    """Something to cook."""

    dish: str
    minutes: int


@tool
def temperature(city: str) -> str:
    """Tell how warm it is in a city now."""
    return f"4 degrees in {city}"


def main() -> None:
    """Ask in four ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030/v1", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="assistant")
    given = parser.parse_args()
    key = SecretStr(given.api_key)
    model = ChatOpenAI(base_url=given.url, api_key=key, model=given.model, stream_usage=True)

    whole = model.invoke("What is an inglenook?")
    print("whole:    ", whole.content)

    print("streamed:  ", end="")
    for piece in model.stream("What is an inglenook?"):
        print(piece.content, end="", flush=True)

    question = HumanMessage("How warm is it in Oslo?")
    with_tool = model.bind_tools([temperature])
    turn = with_tool.invoke([question])
    results: list[ToolMessage] = [temperature.invoke(call) for call in turn.tool_calls]
    print("\ntool:     ", with_tool.invoke([question, turn, *results]).content)

    recipe = model.with_structured_output(Recipe).invoke("What can be cooked over embers?")
    print("object:   ", repr(recipe))


if __name__ == "__main__":
    main()
