"""How the texts of many callers share passes of the tokenizer's one worker thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tokenizers import Tokenizer as Library

from services.inference.tokenizer import LARGEST_PASS, SHORT_CHARACTERS, SLICE, Tokenizer
from tests.support.engine_parts import LIMIT_SECONDS, turns
from tests.support.tiny import write_tokenizer


class GatedLibrary:
    """A tokenizer whose passes wait for a gate, and which remembers what it was given where."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._gate = threading.Semaphore(0)
        self.passes: list[list[str]] = []
        self.threads: list[str] = []
        self.error: Exception | None = None

    def open(self, passes: int = 1_000) -> None:
        """Let this many passes through the gate."""
        self._gate.release(passes)

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = True) -> Any:
        """Tokenize one text, or a pair."""
        self.threads.append(threading.current_thread().name)
        return self._library.encode(text, pair, add_special_tokens=add_special_tokens)

    def encode_batch_fast(self, texts: list[str], *, add_special_tokens: bool) -> Any:
        """Tokenize the texts of a pass once the gate is open."""
        self.threads.append(threading.current_thread().name)
        self.passes.append(texts)
        self._gate.acquire(timeout=LIMIT_SECONDS)
        if self.error is not None:
            raise self.error
        return self._library.encode_batch_fast(texts, add_special_tokens=add_special_tokens)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[GatedLibrary]:
    """A gated tokenizer; its gate is opened in the end, so that no thread is left waiting."""
    gated = GatedLibrary(write_tokenizer(tmp_path / "tokenizer.json"))
    yield gated
    gated.open()


@pytest.fixture
async def tokenizer(library: GatedLibrary) -> Tokenizer:
    """Our tokenizer over it."""
    made = Tokenizer(cast("Library", library), 5_000)
    library.threads.clear()
    return made


async def ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Return the token ids of texts."""
    return [encoding.ids for encoding in (await tokenizer.encode(texts)).encodings]


def expected(library: GatedLibrary, texts: list[str]) -> list[list[int]]:
    """Return what the library gives for each text by itself."""
    return [library._library.encode(text).ids for text in texts]


async def test_callers_share_passes_and_each_gets_its_own(
    library: GatedLibrary, tokenizer: Tokenizer
) -> None:
    """Whatever shares a pass, a call gets the tokens of its own texts in its own order."""
    library.open()
    calls = [[f"{caller} cat {number}" for number in range(caller * 7 % 90 + 2)] for caller in range(40)]

    results = await asyncio.gather(*(ids(tokenizer, texts) for texts in calls))

    assert results == [expected(library, texts) for texts in calls]
    assert len(library.passes) < len(calls)


async def test_what_comes_during_a_pass_is_in_the_next_one(
    library: GatedLibrary, tokenizer: Tokenizer
) -> None:
    """Under load the trip to the other thread and back is paid once for many callers."""
    first = asyncio.create_task(ids(tokenizer, ["a", "b"]))
    await turns()
    others = [asyncio.create_task(ids(tokenizer, [f"cat {number}", "dog"])) for number in range(3)]
    await turns()
    library.open()

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(first, *others)

    assert library.passes == [["a", "b"], ["cat 0", "dog", "cat 1", "dog", "cat 2", "dog"]]


async def test_caller_that_leaves_does_not_disturb_others(
    library: GatedLibrary, tokenizer: Tokenizer
) -> None:
    """Its texts that wait are not tokenized any more; those under way are thrown away."""
    calls = {name: asyncio.create_task(ids(tokenizer, [f"{name} 1", f"{name} 2"])) for name in "abcd"}
    await turns()  # a's texts are in the pass that is under way, the others wait
    for name in "ac":
        calls[name].cancel()
    await turns()
    library.open()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await calls["b"] == expected(library, ["b 1", "b 2"])
        assert await calls["d"] == expected(library, ["d 1", "d 2"])

    assert library.passes == [["a 1", "a 2"], ["b 1", "b 2", "d 1", "d 2"]]
    assert calls["a"].cancelled()
    assert calls["c"].cancelled()


async def test_caller_that_leaves_during_its_pass_does_not_disturb_the_others_in_it(
    library: GatedLibrary, tokenizer: Tokenizer
) -> None:
    """Nobody waits for its tokens any more; all others of the pass get theirs."""
    calls = {name: asyncio.create_task(ids(tokenizer, [f"{name} 1", f"{name} 2"])) for name in "abc"}
    await turns()

    async with asyncio.timeout(LIMIT_SECONDS):
        library.open(passes=1)
        await calls["a"]  # the pass with the texts of b and c is under way now
        calls["b"].cancel()
        await turns()
        library.open()
        assert await calls["c"] == expected(library, ["c 1", "c 2"])

    assert library.passes == [["a 1", "a 2"], ["b 1", "b 2", "c 1", "c 2"]]
    assert calls["b"].cancelled()


async def test_large_call_does_not_hold_up_small_ones(library: GatedLibrary, tokenizer: Tokenizer) -> None:
    """A pass has an end, so that the small call behind a large one waits for one pass at most."""
    texts = [str(number) for number in range(3 * LARGEST_PASS)]
    large = asyncio.create_task(ids(tokenizer, texts))
    await turns()
    library.open()

    async with asyncio.timeout(LIMIT_SECONDS):
        await large

    assert max(map(len, library.passes)) < LARGEST_PASS + SLICE
    assert [text for one in library.passes for text in one] == texts


async def test_calls_take_turns_in_a_pass(library: GatedLibrary, tokenizer: Tokenizer) -> None:
    """A thousand documents do not stand before a question that comes after them: it is in the next pass."""
    documents = [str(number) for number in range(4 * LARGEST_PASS)]
    large = asyncio.create_task(ids(tokenizer, documents))
    await turns()  # its first pass is under way
    small = asyncio.create_task(ids(tokenizer, ["the cat", "a dog"]))
    await turns()
    library.open()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await small == expected(library, ["the cat", "a dog"])
        assert await large == expected(library, documents)

    assert "the cat" in library.passes[1]


async def test_failed_pass_fails_its_callers_and_no_later_ones(
    library: GatedLibrary, tokenizer: Tokenizer
) -> None:
    """A bug in the library must neither hang its callers nor stop the tokenizer for good."""
    library.open()
    library.error = ValueError("a bug")
    async with asyncio.timeout(LIMIT_SECONDS):
        for result in await asyncio.gather(
            *(ids(tokenizer, ["a", "b"]) for _ in range(3)), return_exceptions=True
        ):
            assert result is library.error
        library.error = None

        assert await ids(tokenizer, ["a", "b"]) == expected(library, ["a", "b"])


async def test_short_single_text_is_tokenized_at_once(library: GatedLibrary, tokenizer: Tokenizer) -> None:
    """Going to another thread and back would take longer than tokenizing it; and no pass holds it up."""
    blocking = asyncio.create_task(ids(tokenizer, ["a", "b"]))
    await turns()

    await tokenizer.encode(["c" * SHORT_CHARACTERS])

    assert library.threads == ["tokenizer_0", threading.current_thread().name]
    assert library.passes == [["a", "b"]]
    library.open()
    await blocking


@pytest.mark.parametrize("texts", [["c" * (SHORT_CHARACTERS + 1)], ["c", "d"]])
async def test_long_text_and_several_texts_leave_the_event_loop(
    library: GatedLibrary, tokenizer: Tokenizer, texts: list[str]
) -> None:
    """The event loop must answer other calls while they are tokenized."""
    library.open()

    await tokenizer.encode(texts)

    assert library.threads == ["tokenizer_0"]


@pytest.mark.parametrize("truncation", ["right", "left"])
async def test_absurdly_long_text_is_not_tokenized_whole(library: GatedLibrary, truncation: Any) -> None:
    """What is cut off by characters never reaches the library."""
    library.open()
    tokenizer = Tokenizer(cast("Library", library), 8)
    text = "cat " * 100_000 + "end"

    await tokenizer.encode([text], truncation)

    assert library.passes == [[text[:2_000] if truncation == "right" else text[-2_000:]]]
