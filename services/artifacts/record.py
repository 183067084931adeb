"""What is known of files that came from the hub: their hashes, and what else is in their repository.

A record is one JSON file per commit of a repository. It is an observation, not a copy: where there is none,
or one that cannot be read, the files are looked at anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 1 << 20
SHA256_DIGITS: Final = 64

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file was when it was looked at.

    Attributes:
        sha256: Its hash, lowercase hex.
        size: Its size in bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one commit of a repository.

    Attributes:
        files: What its files are, by name; only those that were fetched or found here.
        listing: The names of all files that it has; None if that is not known.
    """

    files: Mapping[str, FileFacts] = field(default_factory=dict)
    listing: frozenset[str] | None = None

    def without(self, names: Collection[str]) -> Record:
        """Return a record that knows nothing of these files."""
        return replace(self, files={name: one for name, one in self.files.items() if name not in names})

    def extended(self, files: Mapping[str, FileFacts], listing: frozenset[str] | None) -> Record:
        """Return a record that knows this as well."""
        return replace(self, files={**self.files, **files}, listing=listing or self.listing)


def read_record(path: Path) -> Record:
    """Return what is recorded; nothing if there is no record or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {name: _read_facts(facts) for name, facts in content["files"].items()}
        listing = content["listing"]
        if listing is not None and not (
            isinstance(listing, list) and all(isinstance(name, str) for name in listing)
        ):
            raise TypeError
        return Record(files, None if listing is None else frozenset(listing))
    except FileNotFoundError:
        return Record()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        log.warning("the record of downloaded files %s cannot be read and is made anew", path)
        return Record()


def _read_facts(facts: Mapping[str, object]) -> FileFacts:
    """Return what a record says of one file; raises what reading anything else does."""
    sha256, size = facts["sha256"], facts["size"]
    if not isinstance(sha256, str) or not isinstance(size, int):
        raise TypeError
    return FileFacts(sha256, size)


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all. A cache that cannot be written to is told in the log."""
    content = {
        "files": {name: {"sha256": one.sha256, "size": one.size} for name, one in record.files.items()},
        "listing": None if record.listing is None else sorted(record.listing),
    }
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".", suffix=".tmp", delete=False
        ) as file:
            temporary = file.name
            json.dump(content, file, indent=1, sort_keys=True)
        os.replace(temporary, path)
    except OSError as error:
        # The model can be used all the same: its files are hashed again the next time.
        log.warning("hashes of downloaded files cannot be recorded in %s: %s", path.parent, error.strerror)
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def hash_file(path: Path, blob: str | None) -> tuple[FileFacts, str]:
    """Return what a file is, and its hash of the kind that `blob` is.

    Args:
        path: The file.
        blob: Hash that names it on the hub: SHA-256 of its content for large files, git's SHA-1 of a blob
            for small ones. None if unknown.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    # Git hashes a header with the content: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    as_git = blob is not None and len(blob) != SHA256_DIGITS
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            if as_git:
                git.update(chunk)
    facts = FileFacts(sha256.hexdigest(), size)
    return facts, git.hexdigest() if as_git else facts.sha256
