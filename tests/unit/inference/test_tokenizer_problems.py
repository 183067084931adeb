"""Tokenizers that cannot be used as they are, and texts that they make nothing of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers, processors

from services.artifacts import ArtifactProblem
from services.inference.errors import InvalidInput
from services.inference.pairs import Pairs
from services.inference.template import Template
from services.inference.tokenizer import load_tokenizer, read_tokenizer
from tests.support.tiny import write_tokenizer

NO_SPECIALS: dict[str, Any] = {"post_processor": None}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with special tokens at both ends."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


def rewritten(file: Path, folder: Path, **parts: Any) -> Path:
    """Write a `tokenizer.json` with other parts than those of `file`, and return it."""
    content = json.loads(file.read_text(encoding="utf-8")) | parts
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def processing(single: str, pair: str) -> dict[str, Any]:
    """Return a post-processor in the words of a `tokenizer.json`, from templates as in `A [SEP] B`."""

    def piece(name: str) -> dict[str, Any]:
        kind = "Sequence" if name in {"A", "B"} else "SpecialToken"
        return {kind: {"id": name, "type_id": 0}}

    return {
        "type": "TemplateProcessing",
        "single": [piece(name) for name in single.split()],
        "pair": [piece(name) for name in pair.split()],
        "special_tokens": {"[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}},
    }


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"post_processor": processing("B", "A B")},
        {"post_processor": processing("A [NONE]", "A B")},
    ],
)
def test_file_that_makes_the_library_panic_is_a_problem(
    file: Path, tmp_path: Path, parts: dict[str, Any]
) -> None:
    """The library's panics are no Exception: they would go through everything that catches one."""
    with pytest.raises(ArtifactProblem, match=r"^tokenizer.json cannot be read: "):
        read_tokenizer(rewritten(file, tmp_path, **parts), 10)


def test_library_that_is_interrupted_is_not_a_problem_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who presses Ctrl-C wants the process to end."""

    def interrupt(_: Library) -> Template:
        raise KeyboardInterrupt

    monkeypatch.setattr(Template, "read", interrupt)

    with pytest.raises(KeyboardInterrupt):
        read_tokenizer(file, 10)


@pytest.mark.parametrize("pair", ["B [SEP] A", "A [SEP]", "A [SEP] B [SEP] A"])
def test_tokenizer_that_puts_pairs_together_differently_is_for_single_texts(
    file: Path, tmp_path: Path, pair: str
) -> None:
    """Special tokens around the first text and the second one is all that a pair is made of here."""
    path = rewritten(file, tmp_path, post_processor=processing("A [SEP]", pair))

    assert read_tokenizer(path, 10).encode("cat").ids[-1] == 3
    with pytest.raises(ArtifactProblem, match=r"^the tokenizer cannot be used for pairs of texts"):
        read_tokenizer(path, 10, pairs=True)


def test_tokenizer_that_repeats_a_text_is_refused(file: Path, tmp_path: Path) -> None:
    """What is put together from bare texts would not be what the model was trained on."""
    path = rewritten(file, tmp_path, post_processor=processing("A [SEP] A", "A B"))

    with pytest.raises(ArtifactProblem, match="something else to a text than to put special tokens around"):
        read_tokenizer(path, 10)


@pytest.mark.parametrize("limit", [3, 4])
def test_pairs_need_room_for_a_token_of_each_text(file: Path, limit: int) -> None:
    """With one token of room every pair would be refused, call by call."""
    read_tokenizer(file, limit)
    read_tokenizer(file, 5, pairs=True)
    with pytest.raises(ArtifactProblem, match=f"max_input_tokens {limit} leaves no room for two texts"):
        read_tokenizer(file, limit, pairs=True)


async def test_vocabulary_without_letters_is_understood(tmp_path: Path) -> None:
    """Not every tokenizer knows `a`: what it does know is found out."""
    library = Library(models.BPE({"λ": 0, "[SEP]": 1}, []))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B [SEP]", special_tokens=[("[SEP]", 1)]
    )
    library.save(str(tmp_path / "tokenizer.json"))

    read_tokenizer(tmp_path / "tokenizer.json", 10, pairs=True)
    tokenized = await load_tokenizer(tmp_path / "tokenizer.json", 10).encode(["λ"])
    assert tokenized.encodings[0].ids == [0, 1]


def test_vocabulary_of_nothing_is_refused(tmp_path: Path) -> None:
    """A file that was cut off by hand loads without complaint, and makes nothing of anything."""
    Library(models.BPE({}, [])).save(str(tmp_path / "tokenizer.json"))

    with pytest.raises(ArtifactProblem, match="makes no token of any text"):
        read_tokenizer(tmp_path / "tokenizer.json", 10)


async def test_texts_without_a_known_token_are_refused_by_name(file: Path, tmp_path: Path) -> None:
    """Without special tokens nothing is left of them, and a batch has no place for nothing."""
    tokenizer = load_tokenizer(rewritten(file, tmp_path, **NO_SPECIALS), 10)

    with pytest.raises(InvalidInput) as raised:
        await tokenizer.encode(["cat", "\u200b", "dog", "\x00"], name="documents[{}]".format)
    tokenizer.close()

    assert raised.value.violations == (
        ("documents[1]", "has no token that the model knows"),
        ("documents[3]", "has no token that the model knows"),
    )


async def test_pairs_without_a_known_token_are_refused_by_name(file: Path, tmp_path: Path) -> None:
    """One of the two texts is enough to compute a pair."""
    tokenizer = load_tokenizer(rewritten(file, tmp_path, **NO_SPECIALS), 10)
    pairs = Pairs(
        ["\u200b"],
        ["cat", "\x00"],
        [(0, 0), (0, 1)],
        "second",
        lambda index: ("query", f"documents[{index}]"),
    )

    with pytest.raises(InvalidInput) as raised:
        await tokenizer.encode_pairs(pairs)
    tokenizer.close()

    assert raised.value.violations == (
        ("query", "has no token that the model knows"),
        ("documents[1]", "has no token that the model knows"),
    )


async def test_special_tokens_alone_are_an_input(file: Path) -> None:
    """Where there are some, a text of nothing but invisible characters is one that the model can read."""
    tokenizer = load_tokenizer(file, 10)

    tokenized = await tokenizer.encode(["\u200b"])

    assert tokenized.encodings[0].ids == [2, 3]
