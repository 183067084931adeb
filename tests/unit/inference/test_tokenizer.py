from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import processors

from services.artifacts import ArtifactProblem
from services.inference.errors import InputTooLong
from services.inference.pairs import Truncation
from services.inference.tokenizer import CHARACTERS_PER_TOKEN, Tokenizer, load_tokenizer
from tests.support.tiny import SPECIALS, WORDS, write_tokenizer

CUTS: list[Truncation] = ["right", "left"]

words = st.lists(
    st.sampled_from([*WORDS, "Catamaran", "déjà-vu", "你好世界", "👩‍🚀🚀", "\u200b", "x" * 120, "a.b,c"])
)
texts = st.one_of(st.text(max_size=60), words.map(" ".join))

TEMPLATES: dict[str, Callable[[], processors.PostProcessor]] = {
    "both ends": lambda: processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
    "start": lambda: processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)]),
    "end": lambda: processors.TemplateProcessing(single="$A [SEP] [SEP]", special_tokens=[("[SEP]", 3)]),
    "none": lambda: processors.TemplateProcessing(single="$A", special_tokens=[]),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with special tokens at both ends."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module", params=list(TEMPLATES))
def shaped_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizers with special tokens at both ends, at one end, and without any."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    library = write_tokenizer(path)
    library.post_processor = TEMPLATES[request.param]()
    library.save(str(path))
    return path


def truncated(file: Path, text: str, limit: int, direction: str) -> list[int]:
    """Return what the library itself makes of a text when it truncates."""
    library = Library.from_file(str(file))
    library.enable_truncation(limit, direction=direction)
    ids: list[int] = library.encode(text).ids
    return ids


@given(text=texts, limit=st.integers(3, 12), truncation=st.sampled_from(CUTS))
@example(text="cat dog " * 50, limit=5, truncation="left")
@settings(max_examples=60, deadline=None)
async def test_cutting_gives_what_the_library_gives(
    shaped_file: Path, text: str, limit: int, truncation: Truncation
) -> None:
    """Special tokens stay where they are, and the text between them loses the side that was asked for."""
    tokenizer = load_tokenizer(shaped_file, limit)
    expected = truncated(shaped_file, text, limit, truncation)
    assume(expected)

    tokenized = await tokenizer.encode([text], truncation)

    assert tokenized.encodings[0].ids == expected


@given(batch=st.lists(texts, min_size=1, max_size=70))
@settings(max_examples=25, deadline=None)
async def test_many_texts_give_what_each_gives_alone(file: Path, batch: list[str]) -> None:
    """Texts of one call keep their order, though they are tokenized in slices and on several threads."""
    tokenizer, library = load_tokenizer(file, 1000), Library.from_file(str(file))

    tokenized = await tokenizer.encode(batch)
    tokenizer.close()

    assert [encoding.ids for encoding in tokenized.encodings] == [library.encode(text).ids for text in batch]
    assert tokenized.seconds >= 0


@given(text=texts)
@settings(max_examples=25, deadline=None)
async def test_count_is_the_length_of_the_whole_text(file: Path, text: str) -> None:
    """Counting cuts nothing: callers count in order to find out whether a text fits."""
    tokenizer = load_tokenizer(file, 3)

    assert await tokenizer.count([text]) == [len(Library.from_file(str(file)).encode(text).ids)]


async def test_text_that_just_fits_is_not_cut(file: Path) -> None:
    """The limit includes the special tokens, and is allowed itself."""
    tokenizer = load_tokenizer(file, 5)

    for truncation in ("none", *CUTS):
        tokenized = await tokenizer.encode(["cat dog runs"], truncation)
        assert tokenized.encodings[0].ids == Library.from_file(str(file)).encode("cat dog runs").ids


async def test_long_texts_are_refused_with_limit_length_and_path(file: Path) -> None:
    """A caller of a thousand texts must learn which of them, and by how much."""
    tokenizer = load_tokenizer(file, 5)

    with pytest.raises(InputTooLong) as raised:
        await tokenizer.encode(
            ["cat", "the cat sits on", "dog", "a dog runs fast . ."], name="documents[{}]".format
        )
    tokenizer.close()

    assert raised.value.violations == (
        ("documents[1]", "has 6 tokens, 1 more than the model takes"),
        ("documents[3]", "has 8 tokens, 3 more than the model takes"),
    )
    assert raised.value.metadata == {"maxInputTokens": "5", "inputTokens": "8"}
    assert "documents[1], documents[3]" in str(raised.value)


@pytest.mark.parametrize("truncation", CUTS)
async def test_absurdly_long_text_is_cut_by_characters_and_gives_the_same(
    file: Path, truncation: Truncation
) -> None:
    """A megabyte of text costs no more than what the model could take of it."""
    tokenizer = load_tokenizer(file, 8)
    text = "".join(f"{word} " for word in WORDS) * 1_000
    assert len(text) > 8 * CHARACTERS_PER_TOKEN

    tokenized = await tokenizer.encode([text], truncation)
    tokenizer.close()

    assert tokenized.encodings[0].ids == truncated(file, text, 8, truncation)


async def test_length_of_an_absurdly_long_text_is_told_exactly(file: Path) -> None:
    """Where nothing may be cut, nothing is, and the caller learns the true length."""
    tokenizer = load_tokenizer(file, 8)

    with pytest.raises(InputTooLong) as raised:
        await tokenizer.encode(["cat " * 10_000])
    tokenizer.close()

    assert raised.value.metadata["inputTokens"] == "10002"


async def test_padding_and_truncation_of_the_file_are_switched_off(file: Path, tmp_path: Path) -> None:
    """Many tokenizer.json files pad to a fixed length or truncate silently; here the call decides."""
    library = Library.from_file(str(file))
    library.enable_padding(length=32)
    library.enable_truncation(4)
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json", 20)

    tokenized = await tokenizer.encode(["cat", "the cat sits on the mat"])
    tokenizer.close()

    assert [len(encoding) for encoding in tokenized.encodings] == [3, 8]


@pytest.mark.parametrize("content", ["", "{", '{"model": 5}', None])
async def test_broken_file_is_a_problem_that_names_it(tmp_path: Path, content: str | None) -> None:
    """None stands for a file that is missing."""
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(ArtifactProblem, match=r"^tokenizer.json cannot be read: "):
        load_tokenizer(path, 10)


@pytest.mark.parametrize("limit", [1, 2])
async def test_limit_without_room_for_text_is_a_problem(file: Path, limit: int) -> None:
    """Every text would be cut to nothing but special tokens, and all would be alike."""
    with pytest.raises(ArtifactProblem, match=f"max_input_tokens {limit} leaves no room"):
        load_tokenizer(file, limit)


async def test_limit_with_room_for_one_token_is_enough(file: Path) -> None:
    """The smallest sensible limit works."""
    tokenizer: Tokenizer = load_tokenizer(file, 3)

    tokenized = await tokenizer.encode(["cat dog"], "right")

    assert tokenized.encodings[0].ids == [2, len(SPECIALS) + WORDS.index("cat"), 3]
