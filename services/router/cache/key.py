"""What an answer is found by: a digest of everything that decides it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeAlias

NAMESPACE: Final = b"inglenook:cache:"
"""Every key begins with it, whatever its format."""
FORMAT: Final = b"1"
"""Raised when a key is made in another way, or a value means something else, so that none is misread."""
PERSON: Final = b"inglenook-cache"
DIGEST_BYTES: Final = 16
TAG_BYTES: Final = 8
MOST_REMEMBERED: Final = 128
"""Longest field of keys that are remembered: what callers write may be of any length."""

Field: TypeAlias = str | bytes | int | float | bool | None


def model_tag(model: str) -> bytes:
    """Return what stands for a model's public name in its keys, hexadecimal."""
    return blake2b(_encoded(model), digest_size=TAG_BYTES, person=PERSON).hexdigest().encode()


def keys_of(model: str = "") -> bytes:
    """Return what all keys of a model begin with; without a model, what all keys begin with."""
    return NAMESPACE + FORMAT + b":" + (model_tag(model) + b":" if model else b"")


def pattern_of(model: str = "") -> bytes:
    """Return the glob of Redis for the keys of a model, or of all, in whatever format they were written."""
    return NAMESPACE + b"*" + (b":" + model_tag(model) + b":*" if model else b"")


class KeySpace:
    """Keys of items that have everything in common but themselves.

    A key is the model's tag, so that the answers of one model can be purged, and a digest of the task, the
    model, the fields and the item. All of them are tagged with their types and preceded by their lengths:
    no two different lists of them are the same bytes.

    Args:
        task: What is computed, such as `embed`.
        model: The public name of the model.
        fields: Everything else that decides the answer, in a fixed order: the model's fingerprint, options.
    """

    __slots__ = ("_common", "_head")

    def __init__(self, task: str, model: str, fields: Sequence[Field]) -> None:
        self._head = keys_of(model) if model else keys_of() + model_tag("") + b":"
        self._common = blake2b(digest_size=DIGEST_BYTES, person=PERSON)
        for field in (task, model, len(fields), *fields):
            self._common.update(_told_apart(field))

    def key(self, *item: str | bytes) -> bytes:
        """Return the key of one item: a text, or a pair."""
        digest = self._common.copy()
        for part in item:
            if isinstance(part, str):
                part = _encoded(part)  # noqa: PLW2901  # in the busiest loop there is
                digest.update(b"s%d:" % len(part))
            else:
                digest.update(b"b%d:" % len(part))
            digest.update(part)
        return self._head + digest.digest()


def space_of(task: str, model: str, fields: tuple[Field, ...]) -> KeySpace:
    """Return the keys of items that have these in common; those that are asked for often are remembered.

    The fields of one task have the same types in the same places: 1 and True are not told apart here.
    """
    long = any(isinstance(field, str | bytes) and len(field) > MOST_REMEMBERED for field in fields)
    return KeySpace(task, model, fields) if long else _remembered(task, model, fields)


@lru_cache(maxsize=256)
def _remembered(task: str, model: str, fields: tuple[Field, ...]) -> KeySpace:
    return KeySpace(task, model, fields)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half a pair is no text, and still must not end a call


def _told_apart(field: Field) -> bytes:
    """Return bytes that no other field, of this type or another, is turned into."""
    match field:
        case None:
            return b"n0:"
        case bool():
            return b"t1:1" if field else b"t1:0"
        case str():
            kind, content = b"s", _encoded(field)
        case bytes():
            kind, content = b"b", field
        case int():
            kind, content = b"i", b"%d" % field
        case _:
            kind, content = b"f", field.hex().encode()  # exact, and -0.0 is not 0.0
    return b"%b%d:%b" % (kind, len(content), content)
