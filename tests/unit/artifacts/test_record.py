"""Hashes of files, and the record that is kept of them."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from services.artifacts.record import FileFacts, Record, hash_file, read_record, write_record

ONE = FileFacts("a" * 64, 1)
OTHER = FileFacts("b" * 64, 2)


@pytest.mark.parametrize("listing", [None, frozenset({"a", "b"})])
def test_record_is_read_as_it_was_written(tmp_path: Path, listing: frozenset[str] | None) -> None:
    """Nothing known of a repository is something else than a repository without files."""
    record = Record({"onnx/a.onnx": ONE}, listing)

    write_record(tmp_path / "new" / "record.json", record)

    assert read_record(tmp_path / "new" / "record.json") == record


def test_missing_record_knows_nothing(tmp_path: Path) -> None:
    """As on the first start."""
    assert read_record(tmp_path / "record.json") == Record()


def test_record_is_replaced_whole(tmp_path: Path) -> None:
    """Whoever reads it meanwhile sees the old one or the new one, and no scratch file is left."""
    path = tmp_path / "record.json"
    write_record(path, Record({"a": ONE}))
    write_record(path, Record({"b": OTHER}))

    assert read_record(path) == Record({"b": OTHER})
    assert list(tmp_path.iterdir()) == [path]


def test_record_keeps_what_it_knew() -> None:
    """What is found later is added; a listing is not forgotten."""
    record = Record({"a": ONE, "b": ONE}, frozenset("ab"))

    assert record.extended({"b": OTHER}, None) == Record({"a": ONE, "b": OTHER}, frozenset("ab"))
    assert record.without({"a"}).files == {"b": ONE}


def test_large_files_are_named_by_the_hash_of_their_content(tmp_path: Path) -> None:
    """As Git LFS does it."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()

    assert hash_file(path, "0" * 64) == (FileFacts(sha256, 7), sha256)
    assert hash_file(path, None) == (FileFacts(sha256, 7), sha256)


@pytest.mark.parametrize("content", [b"", b"content", bytes(3_000_000)])
def test_small_files_are_named_as_git_names_them(tmp_path: Path, content: bytes) -> None:
    """Git itself is asked."""
    path = tmp_path / "file"
    path.write_bytes(content)
    command = ["git", "hash-object", "--no-filters", str(path)]
    git = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    facts, hashed = hash_file(path, "0" * 40)

    assert hashed == git
    assert facts == FileFacts(hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "[" * 100_000,
        '{"files": [], "listing": null}',
        '{"files": {"a": {"sha256": ["a"], "size": 1}}, "listing": null}',
        '{"files": {"a": {"sha256": "a", "size": Infinity}}, "listing": null}',
        '{"files": {}, "listing": "tokenizer.json"}',
        '{"files": {}, "listing": [["a"]]}',
    ],
)
def test_record_that_holds_something_else_is_made_anew(tmp_path: Path, content: str) -> None:
    """It is an observation: files that are whole must not be refused for what somebody wrote there."""
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")

    assert read_record(path) == Record()
