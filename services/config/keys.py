"""API keys: how one is made, and what the configuration keeps of it.

A key is 256 random bits. Nobody can try them all, whatever a try costs, so its plain SHA-256 gives nothing
away and takes a microsecond per call. Slow, salted hashes are for passwords, which people choose.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

PREFIX: Final = "ink_"
"""What every key begins with, so that people and scanners for leaked secrets recognize one."""
KEY_BYTES: Final = 32
SHAPE: Final = re.compile(PREFIX + f"[0-9a-f]{{{2 * KEY_BYTES}}}")


def new_key() -> str:
    """Return a new key: `ink_` and 64 hexadecimal digits."""
    return PREFIX + secrets.token_hex(KEY_BYTES)


def is_key(text: str) -> bool:
    """Say whether `text` looks like a key that `new_key` made; one that was cut does not."""
    return SHAPE.fullmatch(text) is not None


def hash_of(key: str) -> str:
    """Return what the configuration says of a key: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}"
