"""Real paragraphs of mixed length that every machine has: the documentation strings of Python's library."""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LEAST_WORDS: Final = 10
LEAST_LETTERS: Final = 0.85
LEFT_OUT: Final = frozenset({"test", "tests", "site-packages", "idlelib", "lib2to3"})


def paragraphs(count: int) -> list[str]:
    """Return `count` different paragraphs of at least `LEAST_WORDS` words.

    Their order is mixed, and the same on every run with the same Python.

    Raises:
        ValueError: This Python's library has fewer.
    """
    found = sorted(set(_all_paragraphs()), key=lambda text: hashlib.sha256(text.encode()).digest())
    if len(found) < count:
        message = f"this Python's library has only {len(found)} such paragraphs"
        raise ValueError(message)
    return found[:count]


def typical_paragraph() -> str:
    """Return the paragraph of median length."""
    found = sorted(set(_all_paragraphs()), key=lambda text: (len(text), text))
    return found[len(found) // 2]


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
