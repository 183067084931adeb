"""The words that the generator puts into its sentences, read from the folder `words`.

Every word belongs to one of two parts, decided by its checksum: `train`, and `heldout`, whose words no
training pair contains in the places that matter.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

WORDS: Final = Path(__file__).parent / "words"
VOWELS: Final = "aeiou"
HELD_OUT_OF: Final = 6
DOUBLED: Final = frozenset({"drop", "wrap", "sit", "run", "stop", "hug", "chat"})
NUMBER_WORDS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

T = TypeVar("T")


@dataclass(frozen=True)
class Noun:
    """A noun with its plural, what kind of thing it is, and the group that it belongs to."""

    singular: str
    plural: str
    kind: str
    group: str
    group_plural: str
    group_mass: str


@dataclass(frozen=True)
class Verb:
    """A verb with the forms that sentences need; `synonym` is in the past tense, or empty."""

    base: str
    past: str
    participle: str
    synonym: str = ""

    @property
    def third(self) -> str:
        """The third person singular: "carries"."""
        head, _, tail = self.base.partition(" ")
        return f"{plural_of(head)} {tail}".rstrip()

    @property
    def gerund(self) -> str:
        """The form in -ing: "carrying"."""
        head, _, tail = self.base.partition(" ")
        if head in DOUBLED:
            head += head[-1]
        elif head.endswith("e") and not head.endswith("ee"):
            head = head[:-1]
        return f"{head}ing {tail}".rstrip()


@dataclass(frozen=True)
class Adjective:
    """An adjective with its opposite; `synonym` may be empty."""

    word: str
    synonym: str
    opposite: str


@dataclass(frozen=True)
class Person:
    """A name or a role with its pronouns."""

    name: str
    gender: str


def plural_of(word: str) -> str:
    """Return the regular plural of a noun, which is also the third person of a verb.

    Args:
        word: The singular, or the verb's base form.
    """
    if word.endswith(("s", "x", "ch", "sh", "z")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def number_word(number: int) -> str:
    """Return a number below a hundred in words, any other in digits.

    Args:
        number: Zero or more.
    """
    if number < len(NUMBER_WORDS):
        return NUMBER_WORDS[number]
    if number >= 100:  # noqa: PLR2004 - the first number with three digits
        return str(number)
    tens, ones = divmod(number, 10)
    return f"{TENS[tens]}-{NUMBER_WORDS[ones]}" if ones else TENS[tens]


def held_out(word: str) -> bool:
    """Tell whether a word belongs to the part that training never shows.

    Args:
        word: Any word or phrase of the lexicon.
    """
    return zlib.crc32(word.encode()) % HELD_OUT_OF == 0


def part(words: Sequence[T], *, heldout: bool) -> list[T]:
    """Return those words that belong to one part.

    Args:
        words: Entries of the lexicon; their text decides.
        heldout: Whether the held-out part is wanted.
    """
    return [word for word in words if held_out(repr(word)) is heldout]


@cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a file of words, its fields stripped.

    Args:
        name: The file's name without its ending.
    """
    lines = (WORDS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    kept = (line for line in lines if line.strip() and not line.startswith("#"))
    return tuple(tuple(field.strip() for field in line.split(" | ")) for line in kept)


@cache
def nouns() -> tuple[Noun, ...]:
    """Return all nouns."""
    found = []
    for kind, group, words in rows("nouns"):
        one, many, *mass = group.split("/")
        for word in words.split(", "):
            singular, _, plural = word.partition("/")
            found.append(
                Noun(singular, plural or plural_of(singular), kind, one, many, mass[0] if mass else many)
            )
    return tuple(found)


@cache
def verbs() -> tuple[Verb, ...]:
    """Return the verbs that take a thing as their object."""
    return tuple(Verb(base, past, pp, "" if syn == "-" else syn) for base, past, pp, syn in rows("verbs"))


@cache
def role_verbs() -> tuple[Verb, ...]:
    """Return the verbs that take a person as their object."""
    return tuple(Verb(base, past, pp) for past, pp, base in rows("roles"))


@cache
def adjectives(kind: str) -> tuple[Adjective, ...]:
    """Return the adjectives for things, people or places.

    Args:
        kind: "object", "person" or "place".
    """
    found = (row for row in rows("adjectives") if row[0] == kind)
    return tuple(Adjective(word, "" if syn == "-" else syn, ant) for _, word, syn, ant in found)


@cache
def people() -> tuple[Person, ...]:
    """Return the names and roles of people."""
    return tuple(Person(name, gender) for gender, names in rows("people") for name in names.split(", "))


@cache
def listed(name: str) -> tuple[str, ...]:
    """Return a list of plain words: places, colours, days, or one of the small tables.

    Args:
        name: The list's name in `places.txt` or `pairs.txt`.
    """
    for key, words in rows("places"):
        if key == name:
            return tuple(words.split(", "))
    for key, words in rows("pairs"):
        if key == name:
            return tuple(words.split("; "))
    raise KeyError(name)
