"""Text to tokens, off the event loop, for many callers at once.

The tokenizer itself is HuggingFace's `tokenizers`, from the model's `tokenizer.json`. Its own padding and
truncation are switched off: they are settings of the tokenizer object, while here every call may want
another truncation, and padding is the batch's business. Cutting a whole encoding gives what truncating
while tokenizing gives: the special tokens at both ends stay, the text between them is shortened.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from tokenizers import Tokenizer as Library

from services.inference.encoding import Encoding
from services.inference.errors import ArtifactProblem, InputTooLong

Truncation = Literal["none", "right", "left"]
"""Which side of a text that is too long is cut; none refuses it."""

CHARACTERS_PER_TOKEN: Final = 250
"""Far more than a token of prose covers. A text that may be truncated is cut to this many characters per
token of room before it is tokenized, so that absurdly long texts cost no more than long ones. Only runs of
thousands of blanks or of one word without an end would have given other tokens."""

SLICE: Final = 32
"""A call's texts are queued in slices of this many."""

SHORT_CHARACTERS: Final = 1_000
"""A single text up to this length is tokenized on the event loop. That takes about 0.2 ms at most; going to
another thread and back would cost as much processor time again."""

LARGEST_PASS: Final = 256
"""A pass takes slices until it has this many texts, so that a large call does not hold up small ones."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The tokens of a call's texts, and how long they took to make, in seconds."""

    encodings: list[Encoding]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    texts: Sequence[str]
    future: asyncio.Future[list[Encoding]]


class Tokenizer:
    """Tokenizes texts of any number of calls in shared passes in one worker thread.

    Belongs to one event loop. A pass takes every text that waits when it begins, so that under load the
    cost of going to another thread and back is shared.
    """

    def __init__(self, library: Library, max_tokens: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._library = library
        self._max_tokens = max_tokens
        self._specials = _specials_at_ends(library)
        self._waiting: deque[_Slice] = deque()
        self._running = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    @property
    def max_tokens(self) -> int:
        """Longest encoding, special tokens included."""
        return self._max_tokens

    async def encode(
        self, texts: Sequence[str], truncation: Truncation = "none", *, parameter: str = "inputs"
    ) -> Tokenized:
        """Tokenize texts and bring them to a length that the model takes.

        Args:
            texts: The texts, 1 or more.
            truncation: What to do with those that are too long.
            parameter: What the caller calls the texts, for error messages.

        Raises:
            InputTooLong: A text has too many tokens, and truncation is none.
        """
        began = time.perf_counter()
        encodings = await self._tokenize([self._shorten(text, truncation) for text in texts])
        if truncation == "none":
            self._refuse_long(encodings, parameter)
        cut = [self._cut(encoding, truncation) for encoding in encodings]
        return Tokenized(cut, time.perf_counter() - began)

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, special tokens included, nothing cut."""
        return [len(encoding) for encoding in await self._tokenize(texts)]

    def close(self) -> None:
        """End the worker thread. No call may be in flight."""
        self._thread.shutdown(wait=False)

    async def _tokenize(self, texts: Sequence[str]) -> list[Encoding]:
        if len(texts) == 1 and len(texts[0]) <= SHORT_CHARACTERS:
            return [Encoding(self._library.encode(texts[0]).ids)]
        loop = self._loop
        slices = [
            _Slice(texts[first : first + SLICE], loop.create_future())
            for first in range(0, len(texts), SLICE)
        ]
        self._waiting.extend(slices)
        self._next_pass()
        parts = await asyncio.gather(*(part.future for part in slices))
        return [encoding for part in parts for encoding in part]

    def _next_pass(self) -> None:
        """Begin a pass over slices that wait, unless one is under way."""
        if self._running:
            return
        turn: list[_Slice] = []
        size = 0
        while self._waiting and size < LARGEST_PASS:
            part = self._waiting.popleft()
            if not part.future.done():  # else: its caller has left
                turn.append(part)
                size += len(part.texts)
        if turn:
            self._running = True
            texts = [text for part in turn for text in part.texts]
            passing = self._loop.run_in_executor(self._thread, self._encode_batch, texts)
            passing.add_done_callback(partial(self._end_pass, turn))

    def _end_pass(self, turn: list[_Slice], passing: asyncio.Future[list[Encoding]]) -> None:
        self._running = False
        self._next_pass()
        error = passing.exception()
        encodings = iter(() if error else passing.result())
        for part in turn:
            encoded = list(islice(encodings, len(part.texts)))
            if part.future.done():
                continue
            if error:
                part.future.set_exception(error)
            else:
                part.future.set_result(encoded)

    def _encode_batch(self, texts: list[str]) -> list[Encoding]:
        return [Encoding(encoding.ids) for encoding in self._library.encode_batch_fast(texts)]

    def _shorten(self, text: str, truncation: Truncation) -> str:
        room = self._max_tokens * CHARACTERS_PER_TOKEN
        if truncation == "none" or len(text) <= room:
            return text
        return text[:room] if truncation == "right" else text[-room:]

    def _refuse_long(self, encodings: Sequence[Encoding], parameter: str) -> None:
        limit = self._max_tokens
        lengths = {
            f"{parameter}[{index}]": len(encoding)
            for index, encoding in enumerate(encodings)
            if len(encoding) > limit
        }
        if lengths:
            raise InputTooLong(lengths, limit)

    def _cut(self, encoding: Encoding, truncation: Truncation) -> Encoding:
        excess = len(encoding) - self._max_tokens
        if excess <= 0:
            return encoding
        before, after = self._specials
        ids = encoding.ids
        end = len(ids) - after
        kept = ids[before : end - excess] if truncation == "right" else ids[before + excess : end]
        return Encoding([*ids[:before], *kept, *ids[end:]])


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """Return the tokenizer of a model's `tokenizer.json`.

    Raises:
        ArtifactProblem: The file is missing or damaged, or leaves no room for text in `max_tokens`.
    """
    return Tokenizer(read_tokenizer(path, max_tokens), max_tokens)


def read_tokenizer(path: Path, max_tokens: int) -> Library:
    """Read a `tokenizer.json`. Large vocabularies take a second: call it off the event loop.

    Raises:
        ArtifactProblem: The file is missing or damaged, or leaves no room for text in `max_tokens`.
    """
    try:
        library = Library.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        message = f"{path.name} cannot be read: {error}"
        raise ArtifactProblem(message) from error
    library.no_padding()
    library.no_truncation()
    if sum(_specials_at_ends(library)) >= max_tokens:
        message = f"max_input_tokens {max_tokens} leaves no room beside the special tokens"
        raise ArtifactProblem(message)
    return library


def _specials_at_ends(library: Library) -> tuple[int, int]:
    """Return how many special tokens stand before and after a text."""
    mask: list[int] = library.encode("a").special_tokens_mask
    if 0 not in mask:
        return len(mask), 0
    return mask.index(0), mask[::-1].index(0)
