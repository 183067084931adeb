"""What the demo sends: everyday texts, on which anybody can judge the answers."""

from __future__ import annotations

from typing import Final, NamedTuple

QUERY: Final = "How do I keep a fire going through the night?"

QUESTION: Final = f"{QUERY} Answer in two sentences."
"""To be answered by a chat model."""

DOCUMENTS: Final = (
    "Bank the embers with ash before you go to bed, and they will still glow in the morning.",
    "Hardwood burns slowly: a thick oak log at the back of the hearth lasts for hours.",
    "The bakery on the corner sells rye bread on Tuesdays.",
    "Close the damper halfway once the flames are low, so that less air reaches the coals.",
    "Our team won the match in the last minute with a header from the left.",
    "A password should be long, random, and used in one place only.",
)
"""To be embedded: small enough a set to be shown whole."""

CANDIDATES: Final = (
    *DOCUMENTS,
    "In the morning, rake the ash aside, lay thin kindling on the coals and blow gently.",
    "Fire insurance pays for smoke damage only if the alarm was serviced every year.",
    "The night train to Vienna leaves from platform four at ten past eleven.",
    "Wet wood smokes, hisses and gives little heat, so let it dry for two summers.",
)
"""To be reranked: some of them share words with the query and do not answer it."""

BEST: Final = 5
"""How many of the candidates are shown."""

PAIRS: Final = (
    ("All the windows are closed.", "One of the windows is open."),
    ("The meeting was moved from Monday to Tuesday.", "The meeting takes place on Tuesday."),
    ("Tom met Anna at the station.", "Anna was travelling to Berlin."),
    ("A poodle is sleeping on the sofa.", "There is a dog on the sofa."),
    ("Nobody has fed the cat yet.", "The cat has already been fed."),
)
"""Premise and hypothesis: contradiction, entailment, neutral, entailment, contradiction."""


class Sorting(NamedTuple):
    """A text, and the labels that it may get.

    Attributes:
        text: The text.
        labels: The labels.
        template: The sentence that a label is put into; empty for the default of the contract.
    """

    text: str
    labels: tuple[str, ...]
    template: str


SORTINGS: Final = (
    Sorting(
        "The lamp arrived with a broken shade, and nobody has answered my three letters.",
        ("complaint", "praise", "question"),
        "",
    ),
    Sorting(
        "The home side equalised in the last minute and won the shoot-out.",
        ("sports", "cooking", "politics", "technology"),
        "This text is about {}.",
    ),
)
"""The first label of each fits."""
