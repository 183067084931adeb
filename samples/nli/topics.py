"""Pairs for zero-shot classification: a text, and a sentence that says what it is about or what it does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from samples.nli import lexicon
from samples.nli.frames import Pair, is_held_out

TOPICS: Final = Path(__file__).parent / "pairs" / "topics.tsv"
ABOUT: Final = (
    "This example is {}.", "This text is about {}.", "This example is about {}.",
    "The author talks about {}.",
    "The topic is {}.", "This sentence is about {}.", "This is about {}.", "The text deals with {}.",
    "This message has to do with {}.", "The subject of the text is {}.", "This is a text on {}.",
    "It is about {}.", "This belongs to the category {}.", "{}", "The topic of this text is {}.",
    "What is said here concerns {}.",
)  # fmt: skip
DOING: Final = (
    "This example is {}.", "This example is {a}.", "This text is {a}.", "What we read here is {a}.",
    "This message is {a}.", "This is {a}.", "The writer's message is {a}.", "The message can be called {a}.",
    "The sentence is {a}.", "This category is {}.", "{}", "The intent is {}.",
)  # fmt: skip
FEELING: Final = (
    "This example is {}.", "This review is {}.", "The sentiment is {}.", "The tone of the text is {}.",
    "This text is {}.", "The writer's opinion is {}.", "The feedback is {}.", "The message sounds {}.",
)  # fmt: skip
# Labels that no training pair names, to see what becomes of a label that is new.
UNSEEN: Final = frozenset({"photography", "gardening", "crime", "weather"})
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "complaint": ("complaint", "complaint", "criticism"),
    "praise": ("praise", "praise", "compliment"),
    "question": ("question", "question", "inquiry"),
}
# What the writer may be doing at the same time.
NEAR: Final = (
    {"complaint", "request"}, {"complaint", "urgent"}, {"praise", "thanks"}, {"question", "request"},
    {"invitation", "request"}, {"warning", "urgent"}, {"warning", "request"}, {"urgent", "request"},
    {"not urgent", "request"}, {"urgent", "question"}, {"not urgent", "question"}, {"invitation", "question"},
    {"apology", "thanks"}, {"greeting", "thanks"}, {"greeting", "question"}, {"greeting", "invitation"},
)  # fmt: skip
WITHOUT_ARTICLE: Final = frozenset({"praise", "thanks", "urgent", "not urgent", "criticism"})
FEELINGS: Final = {
    "praise": "positive", "thanks": "positive", "positive": "positive",
    "complaint": "negative", "negative": "negative",
}  # fmt: skip
OPPOSITE: Final = {"positive": "negative", "negative": "positive"}
LABELS: Final = ("entailment", "contradiction", "entailment", "neutral", "contradiction")
KINDS: Final = {"about": ABOUT, "doing": DOING, "feeling": FEELING}
# How often each kind comes.
TURNS: Final = ("about", "doing", "about", "feeling", "about", "doing", "about")


def texts() -> dict[str, list[tuple[str, str]]]:
    """Return topics with a text about each, of every kind."""
    rows = [*lexicon.rows("intents")]
    if TOPICS.exists():
        lines = TOPICS.read_text(encoding="utf-8").splitlines()[1:]
        rows += [(topic, text) for topic, _, text in (line.partition("\t") for line in lines)]
    known = names()
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in KINDS}
    for topic, text in rows:
        if topic in known:
            found["about"].append((topic, text))
        elif topic not in OPPOSITE:
            found["doing"].append((topic, text))
        if topic in FEELINGS:
            found["feeling"].append((topic, text))
    return found


@cache
def names() -> dict[str, tuple[tuple[str, ...], frozenset[str]]]:
    """Return the names of each topic, and the topics close to it."""
    rows = lexicon.rows("topics")
    return {topic: (tuple(known.split("; ")), frozenset(close.split("; "))) for topic, known, close in rows}


def near(one: str, other: str) -> bool:
    """Tell whether two topics are so close that a text about one may be about the other.

    Args:
        one: A topic.
        other: Another.
    """
    if one in names() and other in names():
        return other in names()[one][1] or one in names()[other][1]
    return {one, other} in NEAR


def article(topic: str) -> str:
    """Return a topic as a noun with its article.

    Args:
        topic: What a text is.
    """
    if topic in WITHOUT_ARTICLE:
        return topic
    return f"an {topic}" if topic[0] in lexicon.VOWELS else f"a {topic}"


def pairs(count: int, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs about topics, intents and sentiment.

    Args:
        count: How many training pairs are wanted.
        rng: Where every choice comes from.
    """
    every = texts()
    for split, number in (
        ("train", count),
        ("heldout_lexicon", count // 8),
        ("heldout_template", count // 8),
    ):
        heldout = split == "heldout_lexicon"
        for made in range(number):
            kind = TURNS[made % len(TURNS)]
            rows = [row for row in every[kind] if heldout is (row[0] in UNSEEN or lexicon.held_out(row[1]))]
            topic, text = rows[(made * 7919 + made // len(rows)) % len(rows)]
            # What the service asks with by default, most often.
            shown = [i for i in range(len(KINDS[kind])) if is_held_out(i) is (split == "heldout_template")]
            index = 0 if split != "heldout_template" and rng.random() < 0.2 else rng.choice(shown)  # noqa: PLR2004
            label = LABELS[made // len(TURNS) % len(LABELS)]
            others = {row[0] for row in rows} if heldout else {row[0] for row in every[kind]} - UNSEEN
            claim = claimed(topic, label, others, rng) if kind != "feeling" else felt(topic, label)
            if claim:
                hypothesis = KINDS[kind][index].format(claim, a=article(claim))
                yield Pair(text, hypothesis, label, "topics", f"topics-{kind}-{index:02d}", split)


def felt(topic: str, label: str) -> str:
    """Return the feeling that a hypothesis claims, or nothing where none has the label.

    Args:
        topic: What the text does.
        label: How the hypothesis relates to it.
    """
    feeling = FEELINGS[topic]
    return {"entailment": feeling, "contradiction": OPPOSITE[feeling]}.get(label, "")


def claimed(topic: str, label: str, every: set[str], rng: random.Random) -> str:
    """Return what a hypothesis claims a text to be about, or nothing where no topic has the label.

    Args:
        topic: What the text is about.
        label: How the hypothesis relates to it.
        every: The topics to choose from.
        rng: Where every choice comes from.
    """
    chosen = topic
    if label != "entailment":
        others = sorted(o for o in every if o != topic and near(topic, o) is (label == "neutral"))
        if not others:
            return ""
        chosen = rng.choice(others)
    known = names().get(chosen)
    return rng.choice(known[0] if known else NAMES.get(chosen, (chosen,)))
