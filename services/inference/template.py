"""Where a tokenizer puts its special tokens around one text and around two.

A tokenizer's post-processor does nothing else to ids than to put special tokens around them. Doing that here
lets a text that is part of many pairs be tokenized once, and be cut without looking for the special tokens
again. A post-processor that does something else is refused: what is put together here is held against what
it makes of the same texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, Final

from tokenizers import Tokenizer as Library

from services.artifacts import ArtifactProblem
from services.inference.encoding import Encoding

Ids = list[int]

PROBES: Final = ("a", "A", "1", "the", ".", "é", "я", "的", "か", "한")
"""Texts of which nearly every vocabulary knows one."""

VOCABULARY_PROBES: Final = 512
"""How many entries of a vocabulary are tried as texts where it knows none of `PROBES`."""


@dataclass(frozen=True, slots=True)
class Template:
    """The special tokens of a single text.

    Attributes:
        before: Before the text.
        after: After it.
    """

    before: Ids
    after: Ids

    @classmethod
    def read(cls, library: Library) -> Template:
        """Find out by encoding a text.

        Raises:
            ArtifactProblem: The tokenizer makes no token of any text, or does something else to a text than
                to put special tokens around it.
        """
        text, longer = _probes(library)
        found = library.encode(text)
        parts = _around(found, found.ids)
        template = cls(before=parts[0], after=[*parts[1], *parts[2]])
        if template.one(_bare(library, longer)).ids != library.encode(longer).ids:
            message = "the tokenizer does something else to a text than to put special tokens around it"
            raise ArtifactProblem(message)
        return template

    @property
    def extra(self) -> int:
        """How many tokens it adds to a text."""
        return len(self.before) + len(self.after)

    def one(self, text: Ids) -> Encoding:
        """Return the encoding of a text."""
        return Encoding([*self.before, *text, *self.after])


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens of two texts.

    Attributes:
        specials: Before, between and after the texts.
        types: The type ids of `specials`, likewise.
        text_types: Type ids of the first and of the second text.
    """

    specials: tuple[Ids, Ids, Ids]
    types: tuple[Ids, Ids, Ids]
    text_types: tuple[int, int]

    @classmethod
    def read(cls, library: Library) -> PairTemplate:
        """Find out by encoding two texts.

        Raises:
            ArtifactProblem: The tokenizer makes no token of any text, or does something else to two texts
                than to put special tokens around the first one and the second one, in this order.
        """
        text, longer = _probes(library)
        found = library.encode(text, longer)
        if [one for one, _ in groupby(found.sequence_ids) if one is not None] == [0, 1]:
            first, second = (found.type_ids[found.sequence_ids.index(one)] for one in (0, 1))
            template = cls(_around(found, found.ids), _around(found, found.type_ids), (first, second))
            expected = library.encode(longer, text)
            made = template.two(_bare(library, longer), _bare(library, text))
            if made == Encoding(expected.ids, expected.type_ids):
                return template
        message = (
            "the tokenizer cannot be used for pairs of texts: it does something else than to put special "
            "tokens around the first one and the second one, in this order"
        )
        raise ArtifactProblem(message)

    @property
    def extra(self) -> int:
        """How many tokens it adds to two texts."""
        return sum(map(len, self.specials))

    def two(self, first: Ids, second: Ids) -> Encoding:
        """Return the encoding of two texts."""
        before, between, after = self.specials
        types = self.types
        return Encoding(
            [*before, *first, *between, *second, *after],
            [
                *types[0],
                *[self.text_types[0]] * len(first),
                *types[1],
                *[self.text_types[1]] * len(second),
                *types[2],
            ],
        )


def _probes(library: Library) -> tuple[str, str]:
    """Return a text that the tokenizer makes tokens of, and a longer one."""
    for text in chain(PROBES, _vocabulary(library)):
        if _bare(library, text):
            return text, f"{text} {text}"
    message = "the tokenizer makes no token of any text that was tried; is its vocabulary this model's?"
    raise ArtifactProblem(message)


def _vocabulary(library: Library) -> Iterator[str]:
    for token in range(min(VOCABULARY_PROBES, library.get_vocab_size())):
        yield library.decode([token])


def _bare(library: Library, text: str) -> Ids:
    ids: Ids = library.encode(text, add_special_tokens=False).ids
    return ids


def _around(encoding: Any, values: Sequence[int]) -> tuple[Ids, Ids, Ids]:
    """Return the values of special tokens before the first text, between the two, and after the last."""
    parts: list[Ids] = [[]]
    for text, group in groupby(zip(encoding.sequence_ids, values, strict=True), key=lambda one: one[0]):
        if text is None:
            parts[-1] += [value for _, value in group]
        else:
            parts.append([])
    while len(parts) < 3:  # noqa: PLR2004  # before, between, after
        parts.append([])
    return parts[0], parts[1], parts[2]
