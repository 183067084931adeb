"""Pairs about what people are doing, and what that says of what else they are doing: everyday knowledge."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from samples.nli import lexicon
from samples.nli.frames import Pair, is_held_out
from samples.nli.slots import Slots, tidy

PREMISES: Final = (
    "{who} {be} {act}{where}.", "{where2} {who} {be} {act}.", "There {be} {who} {act}{where}.",
    "You can see {who} {act}{where}.", "The picture shows {who} {act}{where}.",
    "{who}, {look}, {be} {act}{where}.",
    "{who} {have} been {act} {long}{where}.", "{who} {be} {act}{where} while {other}.",
    "While {other}, {who} {be} {act}.", "{who} {keep} {act} although {other}.",
)  # fmt: skip
LOOKS: Final = (
    "wearing a dark jacket", "with wet hair", "smiling", "dressed in white", "looking tired", "in sunglasses",
)  # fmt: skip
OTHERS: Final = (
    "it is raining", "others look on", "a dog is barking", "the sun is going down", "music is playing",
    "a child is watching", "it is getting cold", "everybody else is talking",
)  # fmt: skip
WHERE: Final = (
    "", "", "", " on {day}", " this {part}", " right now", " together with a friend", " near {city}",
)  # fmt: skip
WHERE2: Final = (
    "In {city}", "This {part}", "At the moment", "Not far from here", "Outside {venue}", "Right now",
)  # fmt: skip
MANY: Final = {"two", "three", "several", "some", "students", "men", "women", "people", "kids"}
LONG: Final = ("for hours", "all day", "since noon", "for ten minutes", "the whole time")
HYPOTHESES: Final = (
    "{who} {be} {act}.",
    "There {be} {who} {act}.",
    "{who} {be} {act}.",
    "It is true that {who} {be} {act}.",
)


@dataclass(frozen=True)
class Activity:
    """What people may be doing, and what that says about what else they are doing."""

    text: str
    implied: tuple[str, ...]
    open: tuple[str, ...]
    excluded: tuple[str, ...]


def activities() -> list[Activity]:
    """Return the activities of the lexicon."""
    split = (tuple(tuple(field.split("; ")) for field in row) for row in lexicon.rows("activities"))
    return [Activity(text[0], implied, unknown, excluded) for text, implied, unknown, excluded in split]


def everyday(count: int, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs about activities.

    Args:
        count: How many training pairs are wanted.
        rng: Where every choice comes from.
    """
    known = activities()
    patterns = {
        hidden: [p for i, p in enumerate(PREMISES) if is_held_out(i) is hidden] for hidden in (False, True)
    }
    for split, number in (
        ("train", count),
        ("heldout_lexicon", count // 8),
        ("heldout_template", count // 8),
    ):
        chosen = lexicon.part(known, heldout=split == "heldout_lexicon")
        for made in range(number):
            activity = chosen[made // 3 % len(chosen)]
            pattern = rng.choice(patterns[split == "heldout_template"])
            label = ("entailment", "neutral", "contradiction")[made % 3]
            premise, hypothesis = scene(activity, pattern, label, rng)
            yield Pair(
                premise, hypothesis, label, "everyday", f"everyday-{PREMISES.index(pattern):02d}", split
            )


def scene(activity: Activity, pattern: str, label: str, rng: random.Random) -> tuple[str, str]:
    """Return a premise about an activity, and a hypothesis with the label that is asked for.

    Args:
        activity: What somebody is doing.
        pattern: The premise's pattern.
        label: The hypothesis's relation to it.
        rng: Where every choice comes from.
    """
    number = "many" if rng.random() < 0.3 else "one"  # noqa: PLR2004 - how often several people act
    actors = [row[1:] for row in lexicon.rows("who") if row[0] == number]
    who, same, unsure, wrong = (tuple(entry.split("; ")) for entry in rng.choice(actors))
    doing, act = rng.choice(same), activity.text
    if label == "entailment":
        act = rng.choice((*activity.implied, *activity.implied, act))
    elif label == "neutral":
        doing, act = rng.choice(((rng.choice(unsure), act), *((doing, unknown) for unknown in activity.open)))
    else:
        doing, act = rng.choice(
            ((rng.choice(wrong), act), *((rng.choice(same[:2]), no) for no in activity.excluded))
        )
        if rng.random() < 0.15:  # noqa: PLR2004 - now and then by plain denial
            return premise(who[0], activity.text, pattern, rng), tidy(
                f"{who[0]} {verb(who[0])} not {activity.text}."
            )
    act = act.removeprefix("being ")
    shape = rng.choice(HYPOTHESES)
    hypothesis = shape.format(who=doing, be=verb(doing), act=act)
    if shape.startswith("{who}") and doing == who[0] and rng.random() < 0.5:  # noqa: PLR2004
        hypothesis = "the" + hypothesis[1:] if doing.startswith("a ") else hypothesis
    return premise(who[0], activity.text, pattern, rng), tidy(hypothesis)


def premise(who: str, act: str, pattern: str, rng: random.Random) -> str:
    """Return a sentence that says what somebody is doing.

    Args:
        who: Who acts.
        act: What they are doing.
        pattern: The sentence's pattern.
        rng: Where every choice comes from.
    """
    many = verb(who) == "are"
    text = pattern.format(
        who=who, act=act, be="are" if many else "is", have="have" if many else "has",
        keep="keep" if many else "keeps", where=rng.choice(WHERE), where2=rng.choice(WHERE2),
        look=rng.choice(LOOKS), other=rng.choice(OTHERS), long=rng.choice(LONG),
    )  # fmt: skip
    return Slots(rng, heldout=False).fill(text)


def verb(who: str) -> str:
    """Return "is" or "are", whichever goes with a subject.

    Args:
        who: The subject.
    """
    if "few" in who or who.startswith(("more than", "no students", "no men", "no children")):
        return "are"
    return "are" if who.split(maxsplit=1)[0] in MANY else "is"
