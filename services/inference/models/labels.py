"""What the outputs of an NLI model mean, read from their names.

Models put their classes in any order and spell them in many ways: `ENTAILMENT`, `entail`, `not_entailment`.
A model whose names say nothing is refused: a guess would be wrong without anybody noticing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.artifacts import ArtifactProblem

Role = Literal["entailment", "neutral", "contradiction", "rest"]

SPELLINGS: Final[dict[Role, re.Pattern[str]]] = {
    "entailment": re.compile(r"entail(s|ed|ing|ment|ments)?"),
    "neutral": re.compile(r"neutral(ity)?"),
    "contradiction": re.compile(r"contra|contradict(s|ed|ing|ion|ions|ory|ive)?"),
    "rest": re.compile(r"(not?|non|isnt|doesnt)(an)?entail(s|ed|ing|ment)?"),
}
"""How a class is called, in lower case, letters only."""

UNNAMED: Final = re.compile(r"(label|class)?")
"""A name that only counts, as `LABEL_0` does, likewise."""

COUNTS: Final = (2, 3)

SHOWN_NAMES: Final = 8
SHOWN_CHARACTERS: Final = 40

ADVICE: Final = (
    "set `labels` in the model's section to entailment, neutral, contradiction or not_entailment, "
    "in the order of the model's outputs"
)
WANTED: Final = "an NLI model has entailment, neutral and contradiction, or entailment and one other class"


@dataclass(frozen=True, slots=True)
class Roles:
    """Which output is which class.

    Attributes:
        entailment: Place of the logit for: the hypothesis follows from the premise.
        neutral: Place of the one for: the premise says nothing about it. None if there is no such class.
        contradiction: Place of the one for: the premise rules it out. None if there is no such class.
        rest: Place of the one for everything that is not entailment. None if the model tells it apart.
    """

    entailment: int
    neutral: int | None = None
    contradiction: int | None = None
    rest: int | None = None

    @property
    def opposite(self) -> int:
        """Place of the class that entailment is weighed against when a label is judged on its own.

        Contradiction where there is one, as in transformers; with two classes it is the other one.
        """
        others = (self.contradiction, self.rest, self.neutral)
        return next(place for place in others if place is not None)


def read_roles(names: Sequence[str]) -> Roles:
    """Return what outputs with these names mean, the first name being that of output 0.

    Three classes are entailment, neutral and contradiction, in any order. Two are entailment and one of
    contradiction, neutral, and what is not entailment.

    Raises:
        ArtifactProblem: A name is not understood, or the names are not those of such classes.
    """
    if problem := _problem_of(names):
        message = f"the model's classes are {_shown(names)}: {problem}"
        raise ArtifactProblem(message)
    places = {_role_of(name): place for place, name in enumerate(names)}
    return Roles(
        entailment=places["entailment"],
        neutral=places.get("neutral"),
        contradiction=places.get("contradiction"),
        rest=places.get("rest"),
    )


def _problem_of(names: Sequence[str]) -> str:
    """Return why these cannot be the classes of an NLI model; empty if they can."""
    if len(names) not in COUNTS:
        return WANTED
    if all(UNNAMED.fullmatch(_letters(name)) for name in names):
        return f"these names do not say what they mean; {ADVICE}"
    roles = [_role_of(name) for name in names]
    if unknown := [name for name, role in zip(names, roles, strict=True) if role is None]:
        return f"{_shown(unknown)} is not understood; {ADVICE}"
    if len(set(roles)) < len(roles):
        return f"two of them mean the same; {WANTED}"
    if "entailment" not in roles or ("rest" in roles and len(roles) > min(COUNTS)):
        return WANTED
    return ""


def _role_of(name: str) -> Role | None:
    letters = _letters(name)
    for role, spelling in SPELLINGS.items():
        if spelling.fullmatch(letters):
            return role
    return None


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalpha())


def _shown(names: Sequence[str]) -> str:
    """Return names that stand in a file, as far as they belong into a message."""
    shown = [name[:SHOWN_CHARACTERS] if name.isprintable() else "?" for name in names[:SHOWN_NAMES]]
    left = len(names) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")
