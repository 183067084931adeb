"""The hub's own cache on this machine, which other programs share.

    <cache>/models--org--name/blobs/<hash>                     content, named by its hash
    <cache>/models--org--name/snapshots/<commit>/<file>        a link to a blob
    <cache>/.locks/models--org--name/<hash>.lock               held while a blob is being downloaded

The layout is documented: https://huggingface.co/docs/huggingface_hub/guides/manage-cache. The library's own
download is not used, because it begins anew after every interruption; what is fetched here continues.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

BLOB: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Hash that names a blob: git's SHA-1 for small files, SHA-256 for large ones."""

MALFORMED: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What the hub's client raises over JSON that is not what it expects."""


def is_plain(name: object) -> TypeGuard[str]:
    """Tell whether a name that somebody else has made up may be that of a file in a folder of ours.

    It stays in the folder on every system, and can be shown to people.
    """
    return (
        isinstance(name, str)
        and name.isprintable()
        and "\\" not in name
        and not {"", ".", ".."}.intersection(name.split("/"))
    )


@dataclass(frozen=True, slots=True)
class Repository:
    """One commit of a model repository, as far as it is on this machine.

    Attributes:
        name: `<organization>/<name>`, or `<name>` for a few old ones.
        revision: The commit, 40 hexadecimal digits.
        cache: The hub's cache directory.
    """

    name: str
    revision: str
    cache: Path

    def __str__(self) -> str:
        return f"hf:{self.name} at {self.revision[:12]}"

    @property
    def key(self) -> str:
        """Name of its folder in the cache."""
        return "--".join(("models", *self.name.split("/")))

    @property
    def folder(self) -> Path:
        """Where everything of the repository is."""
        return self.cache / self.key

    @property
    def snapshot(self) -> Path:
        """Where the files of the commit are. The folder need not exist."""
        return self.folder / "snapshots" / self.revision

    def blob(self, blob: str) -> Path:
        """Return where the content with this hash is kept."""
        return self.folder / "blobs" / blob

    def partial(self, blob: str) -> Path:
        """Return where content with this hash is kept until it is whole."""
        return self.folder / "blobs" / f"{blob}.incomplete"

    def lock(self, blob: str) -> Path:
        """Return the file that is locked by whoever downloads the content with this hash."""
        return self.cache / ".locks" / self.key / f"{blob}.lock"

    def has(self, name: str) -> bool:
        """Tell whether a file of the commit is here."""
        return (self.snapshot / name).is_file()

    def present(self) -> frozenset[str]:
        """Return the files of the commit that are here."""
        found = (path for path in self.snapshot.rglob("*") if path.is_file())
        return frozenset(path.relative_to(self.snapshot).as_posix() for path in found)

    def blob_of(self, name: str) -> str | None:
        """Return the hash that the hub gave a file; None where the cache was copied without its links."""
        path = self.snapshot / name
        # One step only: the blob may itself be a link, into a store that several repositories share.
        target = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        return target if BLOB.fullmatch(target) else None

    def link(self, name: str, blob: str) -> None:
        """Make the content with this hash a file of the commit.

        Raises:
            OSError: The cache cannot be written to.
        """
        path, content = self.snapshot / name, self.blob(blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{blob[:8]}")
        temporary.unlink(missing_ok=True)
        try:
            # Relative, so that the cache can be moved as a whole.
            temporary.symlink_to(os.path.relpath(content, path.parent))
        except OSError:  # a file system without links: the file is there twice, as with the hub's own tools
            shutil.copyfile(content, temporary)
        os.replace(temporary, path)

    def free_bytes(self) -> int:
        """Return how much space there is for more."""
        existing = next(one for one in (self.folder, *self.folder.parents) if one.is_dir())
        return shutil.disk_usage(existing).free
