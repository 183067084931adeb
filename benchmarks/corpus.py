"""Real paragraphs of mixed length that every machine has: the documentation strings of Python's library.

Their order is mixed, and the same on every run with the same Python, so that the load generator and the plain
loop make the same texts without exchanging them.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

LEAST_WORDS: Final = 10
SENTENCE_WORDS: Final = range(5, 41)
LEAST_LETTERS: Final = 0.85
LEFT_OUT: Final = frozenset({"test", "tests", "site-packages", "idlelib", "lib2to3"})
SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")

Pair = tuple[str, str]


class Search(NamedTuple):
    """A query and the passages that are ranked for it."""

    query: str
    passages: list[str]

    @property
    def pairs(self) -> list[Pair]:
        """What a cross-encoder reads."""
        return [(self.query, passage) for passage in self.passages]


def paragraphs(count: int) -> list[str]:
    """Return `count` different paragraphs of at least `LEAST_WORDS` words.

    Raises:
        ValueError: This Python's library has fewer.
    """
    return _first(_mixed(), count)


def typical_paragraph() -> str:
    """Return the paragraph of median length."""
    found = sorted(_mixed(), key=lambda text: (len(text), text))
    return found[len(found) // 2]


def searches(passages: int, per_call: int) -> list[Search]:
    """Return different paragraphs as passages, `per_call` to a query: another paragraph's first sentence.

    Raises:
        ValueError: This Python's library has too few paragraphs.
    """
    firsts = range(0, passages, per_call)
    texts = paragraphs(passages + len(firsts))
    queries = (SENTENCE_END.split(text)[0] for text in texts[passages:])
    return [
        Search(query, texts[first : min(first + per_call, passages)])
        for query, first in zip(queries, firsts, strict=True)
    ]


def sentence_pairs(count: int) -> list[Pair]:
    """Return `count` pairs of different sentences, of 5 to 40 words each.

    Raises:
        ValueError: This Python's library has too few.
    """
    every = (sentence for text in _mixed() for sentence in SENTENCE_END.split(text))
    found = dict.fromkeys(one for one in every if len(one.split()) in SENTENCE_WORDS)
    sentences = _first(list(found), 2 * count)
    return list(zip(sentences[::2], sentences[1::2], strict=True))


def _first(found: list[str], count: int) -> list[str]:
    if len(found) < count:
        message = f"this Python's library has only {len(found)} such texts, {count} are needed"
        raise ValueError(message)
    return found[:count]


@cache
def _mixed() -> list[str]:
    return sorted(set(_all_paragraphs()), key=lambda text: hashlib.sha256(text.encode()).digest())


def _all_paragraphs() -> Iterator[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted((*root.glob("*.py"), *root.glob("*/*.py"))):
        if LEFT_OUT & set(path.relative_to(root).parts):
            continue
        for documentation in _documentation(path):
            for block in re.split(r"\n\s*\n", documentation):
                text = " ".join(block.split())
                if len(text.split()) >= LEAST_WORDS and ">>>" not in text and _prose(text):
                    yield text


def _documentation(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _prose(text: str) -> bool:
    return sum(letter.isalpha() or letter == " " for letter in text) / len(text) > LEAST_LETTERS
