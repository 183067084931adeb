"""Repositories for the hub-like server: names, files, and the hashes that a hub tells of them."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".onnx", ".onnx_data", ".bin")
"""What a hub keeps as large files, named by their SHA-256."""

CONFIG = {"model_type": "bert", "max_position_embeddings": 64}
WEIGHTS = random.Random(7).randbytes(300_000)  # more than one read of a socket


@dataclass
class Repository:
    """What the server has of one model.

    Attributes:
        files: Content by name.
        commit: The only commit.
        token: Token that is needed to see it; None for a public one.
        gated: Whether its files are only for those who have accepted terms.
        announced: Sizes that are told instead of the real ones.
        bare: Tell names and nothing else in listings, as some mirrors do.
        answers_with: Commit that listings say they are of; None for the right one.
    """

    files: dict[str, bytes]
    commit: str = COMMIT
    token: str | None = None
    gated: bool = False
    announced: dict[str, int] = field(default_factory=dict)
    bare: bool = False
    answers_with: str | None = None

    def is_large(self, name: str) -> bool:
        """Tell whether a hub would keep the file with Git LFS."""
        return name.endswith(LARGE)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file."""
        return hashlib.sha256(self.files[name]).hexdigest()

    def blob_id(self, name: str) -> str:
        """Return git's hash of a file; of the pointer, for a large one."""
        content = self.files[name]
        if self.is_large(name):
            content = f"version 1\noid sha256:{self.sha256(name)}\nsize {len(content)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def etag(self, name: str) -> str:
        """Return the name that the content has in the hub's cache."""
        return self.sha256(name) if self.is_large(name) else self.blob_id(name)

    def size(self, name: str) -> int:
        """Return the size that is told."""
        return self.announced.get(name, len(self.files[name]))

    def siblings(self) -> list[dict[str, Any]]:
        """Return the files as `/api/models` lists them."""
        return [self._sibling(name) for name in self.files]

    def tree(self) -> list[dict[str, Any]]:
        """Return the files as the tree endpoint lists them."""
        return [self._entry(name) for name in self.files]

    def _sibling(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = {"rfilename": name}
        if self.bare:
            return told
        told |= {"size": self.size(name), "blobId": self.blob_id(name)}
        if self.is_large(name):
            told["lfs"] = {"size": self.size(name), "sha256": self.sha256(name), "pointerSize": 130}
        return told

    def _entry(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": "file",
            "path": name,
            "size": self.size(name),
            "oid": self.blob_id(name),
        }
        if self.is_large(name):
            told["lfs"] = {"size": self.size(name), "oid": self.sha256(name), "pointerSize": 130}
        return told


def encoder(*without: str) -> Repository:
    """Return a repository of an embedding model, and of some files that nobody here needs.

    Args:
        without: Files that it lacks.
    """
    files = {
        "README.md": b"# A model",
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
        "sentence_bert_config.json": b'{"max_seq_length": 32}',
        "model.safetensors": WEIGHTS,
        "pytorch_model.bin": b"pickle",
        "tf_model.h5": b"other weights",
    }
    return Repository({name: content for name, content in files.items() if name not in without})


def adapter() -> Repository:
    """Return a repository of a LoRA adapter."""
    return Repository(
        {
            "README.md": b"# An adapter",
            "adapter_config.json": b'{"peft_type": "LORA"}',
            "adapter_model.safetensors": WEIGHTS[:1000],
            "config.json": b'{"id2label": {"0": "yes"}}',
            "tokenizer.json": b"{}",
        }
    )


def read_folder(folder: Path) -> Repository:
    """Return a repository of the files in a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return Repository({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})
