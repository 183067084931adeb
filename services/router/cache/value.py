"""What an answer looks like in Redis, so that what is not one of ours is never taken for one.

An envelope is a version, a checksum over key and answer, and the answer. A value that is cut short, was
written by another program or another version, or belongs to another key does not open.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

VERSION: Final = b"\x01"
CHECKSUM_BYTES: Final = 8
HEAD_BYTES: Final = len(VERSION) + CHECKSUM_BYTES
PERSON: Final = b"inglenook-value"

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""The largest answer that is kept in Redis; reading it must not take longer than computing it."""


def seal(key: bytes, answer: bytes) -> bytes:
    """Return the envelope of an answer."""
    return VERSION + _checksum(key, answer) + answer


def unseal(key: bytes, envelope: object) -> bytes | None:
    """Return the answer in an envelope, or None if it is not one of `key`."""
    if not isinstance(envelope, bytes) or not HEAD_BYTES <= len(envelope) <= HEAD_BYTES + MAX_ANSWER_BYTES:
        return None
    answer = envelope[HEAD_BYTES:]
    return answer if envelope[:HEAD_BYTES] == VERSION + _checksum(key, answer) else None


def _checksum(key: bytes, answer: bytes) -> bytes:
    checksum = blake2b(b"%d:" % len(key), digest_size=CHECKSUM_BYTES, person=PERSON)
    checksum.update(key)
    checksum.update(answer)
    return checksum.digest()
