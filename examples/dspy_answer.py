"""Run a DSPy program on the cluster, with an answer that is held to types.

DSPy asks through LiteLLM, which fetches a price list when it is imported; the variable
LITELLM_LOCAL_MODEL_COST_MAP=True keeps it from doing so.
"""

from __future__ import annotations

import argparse

import dspy


def main() -> None:
    """Ask for two fields and the reasoning that leads to them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3030/v1", help="the router's HTTP address")
    parser.add_argument("--api-key", default="unused", help="one that the router knows, if it has keys")
    parser.add_argument("--model", default="assistant")
    given = parser.parse_args()

    # `openai/` is the language that is spoken, not who is asked.
    dspy.configure(
        lm=dspy.LM(f"openai/{given.model}", api_base=given.url, api_key=given.api_key, cache=False)
    )
    cook = dspy.ChainOfThought("question -> dish: str, minutes: int")
    told = cook(question="What can be cooked over embers?")
    print("reasoning:", told.reasoning)
    print("answer:   ", told.dish, "in", told.minutes, "minutes")


if __name__ == "__main__":
    main()
