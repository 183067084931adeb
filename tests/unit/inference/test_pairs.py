"""Pairs of texts, against what HuggingFace's tokenizers make of the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from services.inference.errors import InputTooLong
from services.inference.pairs import Pairs, Truncation
from services.inference.template import PairTemplate
from services.inference.tokenizer import Tokenizer, load_tokenizer
from tests.support.tiny import WORDS, write_tokenizer
from tests.support.tiny_roberta import write_byte_level_tokenizer, write_unigram_tokenizer

Cut = Literal["first", "second"]

KINDS: dict[str, Callable[[Path], Library]] = {
    "word pieces, as BERT": write_tokenizer,
    "bytes, as RoBERTa": write_byte_level_tokenizer,
    "unigrams, as XLM-R": write_unigram_tokenizer,
}
LONG = 10_000

words = st.lists(
    st.sampled_from([*WORDS, "déjà-vu", "你好", "👩‍🚀", "[SEP]", "</s>", "a.b,c"]), min_size=1, max_size=12
)
texts = st.one_of(st.text(max_size=40), words.map(" ".join))


@pytest.fixture(scope="module", params=list(KINDS))
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of each kind."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    KINDS[request.param](path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tokenizer, for what has nothing to do with its kind."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


def name(index: int) -> tuple[str, str]:
    """Return what a caller calls the texts of a pair."""
    return f"pairs[{index}].first", f"pairs[{index}].second"


def one_pair(first: str, second: str, cut: Cut = "first") -> Pairs:
    """Return a single pair."""
    return Pairs([first], [second], [(0, 0)], cut, name)


async def encoded(
    tokenizer: Tokenizer, pairs: Pairs, truncation: Truncation = "none"
) -> list[tuple[list[int], list[int] | None]]:
    """Return ids and type ids of each pair."""
    tokenized = await tokenizer.encode_pairs(pairs, truncation)
    return [(encoding.ids, encoding.type_ids) for encoding in tokenized.encodings]


def expected(library: Library, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """Return what the library makes of pairs."""
    return [(found.ids, found.type_ids) for found in (library.encode(*pair) for pair in pairs)]


@given(first=texts, second=texts)
@settings(max_examples=60, deadline=None)
async def test_pair_is_what_the_library_makes_of_it(file: Path, first: str, second: str) -> None:
    """Special tokens and types of both texts, although each text was tokenized by itself."""
    found = await encoded(load_tokenizer(file, LONG), one_pair(first, second))

    assert found == expected(Library.from_file(str(file)), [(first, second)])


@given(
    pair=st.tuples(words.map(" ".join), words.map(" ".join)),
    limit=st.integers(8, 24),
    cut=st.sampled_from(["first", "second"]),
    truncation=st.sampled_from(["right", "left"]),
)
@settings(max_examples=80, deadline=None)
async def test_only_the_side_that_may_be_cut_is_cut(
    file: Path, pair: tuple[str, str], limit: int, cut: Cut, truncation: Truncation
) -> None:
    """As the library cuts with `only_first` and `only_second`; where it cannot, the other side is named."""
    first, second = pair
    library = Library.from_file(str(file))
    extra = PairTemplate.read(library).extra
    fixed = second if cut == "first" else first
    room = limit - extra - len(library.encode(fixed, add_special_tokens=False).ids)
    fits = len(library.encode(first, second).ids) <= limit
    tokenizer, pairs = load_tokenizer(file, limit), one_pair(first, second, cut)

    if room < 1 and not fits:
        with pytest.raises(InputTooLong) as raised:
            await tokenizer.encode_pairs(pairs, truncation)
        assert [path for path, _ in raised.value.violations] == [name(0)[1 if cut == "first" else 0]]
        return
    library.enable_truncation(limit, strategy=f"only_{cut}", direction=truncation)
    assert await encoded(tokenizer, pairs, truncation) == expected(library, [(first, second)])


async def test_pairs_share_the_texts_that_they_are_made_of(plain: Path) -> None:
    """A query and a hundred documents are a hundred and one texts, not two hundred."""
    tokenizer, library = load_tokenizer(plain, LONG), Library.from_file(str(plain))
    firsts, seconds = ["the cat", "a dog"], [f"{word} runs" for word in WORDS] * 20
    places = [(row % 2, column) for row, column in enumerate(range(len(seconds)))]

    found = await encoded(tokenizer, Pairs(firsts, seconds, places, "second", name))
    tokenizer.close()

    assert found == expected(library, [(firsts[one], seconds[two]) for one, two in places])


async def test_pairs_that_are_too_long_are_named_with_the_side_to_shorten(plain: Path) -> None:
    """All of them at once, with the length of the whole pair, and the limit."""
    tokenizer = load_tokenizer(plain, 10)
    long, short = "the cat sits on the mat", "a dog runs"
    pairs = Pairs([long, short], [short, long], [(0, 0), (1, 0), (1, 1)], "first", name)

    with pytest.raises(InputTooLong) as raised:
        await tokenizer.encode_pairs(pairs)

    assert [path for path, _ in raised.value.violations] == ["pairs[0].first", "pairs[2].first"]
    assert raised.value.metadata == {"maxInputTokens": "10", "inputTokens": "12"}


async def test_text_that_must_not_be_cut_and_leaves_no_room_is_named_itself(plain: Path) -> None:
    """Asking for truncation cannot help then, and the message must not say that it would."""
    tokenizer = load_tokenizer(plain, 9)
    pairs = one_pair("a dog", "the cat sits on the mat", "first")

    for truncation in ("none", "right"):
        with pytest.raises(InputTooLong) as raised:
            await tokenizer.encode_pairs(pairs, truncation)
        assert [path for path, _ in raised.value.violations] == ["pairs[0].second"]
        assert "it is never cut" in str(raised.value)


async def test_absurdly_long_side_is_shortened_before_it_is_tokenized(plain: Path) -> None:
    """A megabyte of text costs no more than the model could read of it, and the other side is left whole."""
    tokenizer, library = load_tokenizer(plain, 12), Library.from_file(str(plain))
    library.enable_truncation(12, strategy="only_first", direction="right")
    endless = "the cat sits " * 100_000

    found = await encoded(tokenizer, one_pair(endless, "a dog"), "right")
    tokenizer.close()

    assert found == expected(library, [(endless[:1_000], "a dog")])
