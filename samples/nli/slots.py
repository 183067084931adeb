"""Fills the slots of a frame: `{n.p}` is the plural of the thing that the sentence is about.

A slot's name is looked up once per pair, so that premise and hypothesis speak of the same thing; what follows
the dot chooses one of its forms. A second thing of the same sort has a digit: `{n}` and `{n2}`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Container
from typing import Final

from samples.nli import lexicon
from samples.nli.lexicon import Adjective, Noun, Verb

SLOT: Final = re.compile(r"\{([A-Za-z]+)(\d?)(?:\.([a-z0-9]+))?\}")
CHOICE: Final = re.compile(r"\[([^\[\]]*)\]")
AN: Final = re.compile(r"\b([Aa]) (?=(?!u[ns]|eu|one\b|uni|use)[aeiouAEIO]|hour|honest|8\b|eight|11\b|18\b)")
SENTENCE: Final = re.compile(r"(^|[.!?] )([a-z])")
PRONOUNS: Final = {"f": ("she", "her", "her"), "m": ("he", "him", "his")}
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "last")
CLOCK: Final = ("six", "seven", "eight", "nine", "ten", "eleven")
LATER: Final = {
    "six": "ten",
    "seven": "ten",
    "eight": "eleven",
    "nine": "eleven",
    "ten": "twelve",
    "eleven": "one",
}
EARLIER: Final = {
    "six": "five",
    "seven": "six",
    "eight": "seven",
    "nine": "seven",
    "ten": "eight",
    "eleven": "nine",
}
KINDS: Final = {"n": "object", "an": "animal", "tree": "plant", "occ": "person", "m": "mass", "sp": "sport",
               "la": "language"}  # fmt: skip
ADJECTIVES: Final = {"adj": "object", "padj": "person", "ladj": "place",
                     "sadj": "object", "spadj": "person", "sladj": "place"}  # fmt: skip
LISTS: Final = {"loc": "place", "col": "colour"}
Forms = dict[str, str]


class Slots:
    """The words of one pair, drawn when first asked for."""

    def __init__(self, rng: random.Random, *, heldout: bool) -> None:
        self._rng = rng
        self._heldout = heldout
        self._digits = rng.random() < 0.3  # noqa: PLR2004 - how often numbers are written in digits
        self._forms: dict[str, Forms] = {}
        self._used: dict[str, set[str]] = {}

    def fill(self, text: str) -> str:
        """Return a sentence with one of each choice taken and every slot filled.

        Args:
            text: A sentence with `[a|b]` and `{slot}` in it.
        """
        text = CHOICE.sub(lambda found: self._rng.choice(found[1].split("|")), text)
        return tidy(SLOT.sub(self._word, text))

    def _word(self, found: re.Match[str]) -> str:
        name, digit, form = found[1], found[2], found[3] or ""
        if len(name) > 1:
            name = name.lower()
        key = name + digit
        if key not in self._forms:
            self._forms[key] = self._draw(name)
        return self._forms[key][form]

    def _draw(self, name: str) -> Forms:
        ways: tuple[tuple[Container[str], Callable[[str], Forms]], ...] = (
            ({"A", "B", "C"}, self._person), (KINDS, self._noun), ({"v", "sv"}, self._verb),
            ({"r"}, self._role),
            (ADJECTIVES, self._adjective), ({"j"}, self._smaller), (NUMBERS, self._number),
            (SPECIAL, self._special),
        )  # fmt: skip
        for names, draw in ways:
            if name in names:
                return draw(name)
        return self._listed(name)

    def _fresh(self, name: str, words: tuple[lexicon.T, ...], text: Callable[[lexicon.T], str]) -> lexicon.T:
        """Draw from the right part what this pair does not use yet."""
        used = self._used.setdefault(name, set())
        free = [word for word in lexicon.part(words, heldout=self._heldout) if text(word) not in used]
        free = free or [word for word in words if text(word) not in used]
        word = self._rng.choice(free)
        used.add(text(word))
        return word

    def _person(self, _: str) -> Forms:
        person = self._fresh("person", lexicon.people(), lambda person: person.name)
        he, him, his = PRONOUNS[person.gender if person.gender in PRONOUNS else self._rng.choice("fm")]
        return {"": person.name, "he": he, "him": him, "his": his}

    def _noun(self, name: str) -> Forms:
        kind = KINDS[name]
        pool = tuple(noun for noun in lexicon.nouns() if noun.kind == kind)
        if name == "tree":
            pool = tuple(noun for noun in pool if noun.group == "tree")
        used = self._used.get("group:" + kind, set())
        noun = self._fresh(
            kind, tuple(n for n in pool if n.group not in used) or pool, lambda noun: noun.singular
        )
        self._used.setdefault("group:" + kind, set()).add(noun.group)
        sibling = self._sibling(noun)
        return {
            "": noun.singular, "p": noun.plural, "h": noun.group, "hp": noun.group_plural,
            "hm": noun.group_mass, "sib": sibling.singular, "sibp": sibling.plural,
        }  # fmt: skip

    def _sibling(self, noun: Noun) -> Noun:
        same = tuple(other for other in lexicon.nouns() if other.group == noun.group and other != noun)
        return self._rng.choice(lexicon.part(same, heldout=self._heldout) or list(same))

    def _verb(self, name: str) -> Forms:
        pool = lexicon.verbs() if name == "v" else tuple(verb for verb in lexicon.verbs() if verb.synonym)
        return verb_forms(self._fresh("v", pool, lambda verb: verb.base))

    def _role(self, _: str) -> Forms:
        return verb_forms(self._fresh("r", lexicon.role_verbs(), lambda verb: verb.base))

    def _smaller(self, _: str) -> Forms:
        # Drawn with the number that it stays below.
        self._forms["k"] = self._number("k")
        return self._forms["j"]

    def _special(self, name: str) -> Forms:
        return SPECIAL[name](self._rng)

    def _adjective(self, name: str) -> Forms:
        with_synonym = name.startswith("s")
        kind = ADJECTIVES[name]
        pool = tuple(a for a in lexicon.adjectives(kind) if a.synonym or not with_synonym)
        adjective = self._fresh("adj:" + kind, pool, lambda adjective: adjective.word)
        return adjective_forms(adjective, self._rng)

    def _number(self, name: str) -> Forms:
        low, high = NUMBERS[name]
        number = self._rng.randint(low, high)
        gap = 14 if name == "y" else max(2, number // 3)
        values = {
            "": number, "less": number - self._rng.randint(1, min(gap, number - low + 1)),
            "more": number + self._rng.randint(1, gap), "even": number * 2, "half": number,
        }  # fmt: skip
        write = str if self._digits or name == "y" else lexicon.number_word
        forms = {form: write(value) for form, value in values.items()}
        # The same number, written the other way.
        forms["d"] = lexicon.number_word(number) if self._digits else str(number)
        forms["later"], forms["earlier"] = forms["more"], forms["less"]
        if name == "k":
            other = self._rng.randint(2, number - 1)
            self._forms["j"] = {"": write(other), "more": write(other + self._rng.randint(1, 3))}
            forms["plusj"] = write(number + other)
        return forms

    def _listed(self, name: str) -> Forms:
        if name == "x":
            row = self._fresh("x", lexicon.rows("phrases"), " | ".join)
            return dict(zip("penc", row, strict=True))
        words = lexicon.listed(LISTS.get(name, name))
        used = self._used.setdefault(name, set())
        word = self._rng.choice([word for word in words if word not in used])
        used.add(word)
        return split_forms(name, word)


def verb_forms(verb: Verb) -> Forms:
    """Return a verb's forms.

    Args:
        verb: The verb.
    """
    return {
        "": verb.base, "past": verb.past, "pp": verb.participle, "ing": verb.gerund, "s": verb.third,
        "syn": verb.synonym,
    }  # fmt: skip


def adjective_forms(adjective: Adjective, rng: random.Random) -> Forms:
    """Return an adjective, its opposite and its synonym; half the time the opposite is the one spoken of.

    Args:
        adjective: The adjective.
        rng: Where the choice comes from.
    """
    if not adjective.synonym and rng.random() < 0.5:  # noqa: PLR2004
        return {"": adjective.opposite, "ant": adjective.word, "syn": adjective.opposite}
    return {"": adjective.word, "ant": adjective.opposite, "syn": adjective.synonym or adjective.word}


def split_forms(name: str, entry: str) -> Forms:
    """Return the forms that an entry of a small table lists.

    Args:
        name: The table's name, which is the slot's.
        entry: The entry, its forms separated by colons.
    """
    fields = entry.split(":")
    names = {
        "nominal": ("", "past"), "deed": ("", "v", "past"), "bit": ("", "pp"), "tall": ("", "than"),
    }.get(name)  # fmt: skip
    if names is not None:
        return dict(zip(names, fields, strict=True))
    return {"": entry, "s": entry[:-1].replace("childre", "child")}


def clock(rng: random.Random) -> Forms:
    """Return an hour with one before and one after it.

    Args:
        rng: Where the choice comes from.
    """
    hour = rng.choice(CLOCK)
    style = rng.choice(["{}", "{} o'clock"])
    return {form: style.format(word) for form, word in (
        ("", hour), ("later", LATER[hour]), ("earlier", EARLIER[hour]),
    )}  # fmt: skip


def ordinal(rng: random.Random) -> Forms:
    """Return a place in a race with a later one.

    Args:
        rng: Where the choice comes from.
    """
    place = rng.randrange(5)
    return {"": ORDINALS[place], "later": ORDINALS[rng.randint(place + 1, len(ORDINALS) - 1)]}


NUMBERS: Final = {"k": (4, 29), "e": (5, 95), "age": (9, 80), "w": (40, 95), "y": (1930, 2008)}
SPECIAL: Final[dict[str, Callable[[random.Random], Forms]]] = {"h": clock, "ord": ordinal}


def tidy(text: str) -> str:
    """Return a sentence with "an" where it belongs, single spaces and a capital at its start.

    Args:
        text: The sentence with its slots filled.
    """
    text = " ".join(AN.sub(r"\1n ", text).split())
    text = text.replace(" .", ".").replace(" ,", ",")
    return SENTENCE.sub(lambda found: found[1] + found[2].upper(), text)
