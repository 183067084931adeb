"""Text to tokens, off the event loop, for many callers at once.

The tokenizer itself is HuggingFace's `tokenizers`, from the model's `tokenizer.json`. Its own padding and
truncation are switched off: they are settings of the tokenizer object, while here every call may want
another truncation, and padding is the batch's business. Texts are tokenized bare, cut, and only then get the
special tokens of a text or of a pair (`template`), which gives what truncating while tokenizing gives.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer as Library

from services.artifacts import ArtifactProblem
from services.inference.encoding import Encoding
from services.inference.errors import InputTooLong, InvalidInput
from services.inference.pairs import Pairs, TooLong, Truncation, fit, shorten
from services.inference.template import Ids, PairTemplate, Template

CHARACTERS_PER_TOKEN: Final = 250
"""Far more than a token of prose covers. A text that may be truncated is cut to this many characters per
token of room before it is tokenized, so that absurdly long texts cost no more than long ones. Only runs of
thousands of blanks or of one word without an end would have given other tokens."""

SLICE: Final = 32
"""A call's texts are queued in slices of this many."""

SHORT_CHARACTERS: Final = 1_000
"""A single text up to this length is tokenized on the event loop. That takes about 0.2 ms at most; going to
another thread and back would cost as much processor time again."""

ASSEMBLY: Final = 64
"""Pairs put together between two turns of the event loop."""

LARGEST_PASS: Final = 256
"""A pass takes slices, one from each call in turn, until it has this many texts: a large call does not hold
up small ones."""

OURS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
"""What is no Exception either, but not the library's."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The tokens of a call's texts, and how long they took to make, in seconds."""

    encodings: list[Encoding]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    texts: Sequence[str]
    future: asyncio.Future[list[Ids]]


class Tokenizer:
    """Tokenizes texts of any number of calls in shared passes in one worker thread.

    Belongs to one event loop. A pass takes every text that waits when it begins, so that under load the
    cost of going to another thread and back is shared.
    """

    def __init__(self, library: Library, max_tokens: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._library = library
        self._max_tokens = max_tokens
        self._template = Template.read(library)
        self._waiting: deque[deque[_Slice]] = deque()  # a call each
        self._running = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    @property
    def max_tokens(self) -> int:
        """Longest encoding, special tokens included."""
        return self._max_tokens

    async def encode(
        self,
        texts: Sequence[str],
        truncation: Truncation = "none",
        *,
        name: Callable[[int], str] = "inputs[{}]".format,
    ) -> Tokenized:
        """Tokenize texts and bring them to a length that the model takes.

        Args:
            texts: The texts, 1 or more.
            truncation: What to do with those that are too long.
            name: What the caller calls the text of an index, for error messages.

        Raises:
            InvalidInput: A text has no token, and there are no special tokens either.
            InputTooLong: A text has too many tokens, and truncation is none.
        """
        began = time.perf_counter()
        found = await self._tokenize([self._shorten(text, truncation) for text in texts])
        room = self._max_tokens - self._template.extra
        if truncation == "none":
            over = {index: len(ids) for index, ids in enumerate(found) if len(ids) > room}
            self._refuse({name(index): length for index, length in over.items()}, room)
        encodings = [self._template.one(shorten(ids, room, truncation)) for ids in found]
        _refuse_unknown(name(index) for index, encoding in enumerate(encodings) if not encoding.ids)
        return Tokenized(encodings, time.perf_counter() - began)

    async def encode_pairs(self, pairs: Pairs, truncation: Truncation = "none") -> Tokenized:
        """Tokenize pairs of texts and bring them to a length that the model takes.

        Raises:
            InvalidInput: Neither text of a pair has a token, and there are no special tokens either.
            InputTooLong: A pair has too many tokens and truncation is none, or the text that is not cut
                leaves no room for the other one.
        """
        began = time.perf_counter()
        cut_first = pairs.cut == "first"
        texts = [*pairs.firsts, *pairs.seconds]
        cuttable = range(len(pairs.firsts)) if cut_first else range(len(pairs.firsts), len(texts))
        for index in cuttable:
            texts[index] = self._shorten(texts[index], truncation)
        bare = await self._tokenize(texts)
        firsts, seconds = bare[: len(pairs.firsts)], bare[len(pairs.firsts) :]
        encodings: list[Encoding] = []
        too_long: dict[str, int] = {}
        cut_helps = False
        unknown: dict[str, None] = {}
        template = self._pair_template
        room = self._max_tokens - template.extra
        for index, (first, second) in enumerate(pairs.places):
            fitted = fit(pairs, index, (firsts[first], seconds[second]), room, truncation)
            if isinstance(fitted, TooLong):
                too_long[fitted.name] = max(fitted.tokens, too_long.get(fitted.name, 0))
                cut_helps = cut_helps or fitted.cuttable
            else:
                encodings.append(template.two(*fitted))
                if not encodings[-1].ids:
                    unknown.update(dict.fromkeys(pairs.names(index)))
            if index % ASSEMBLY == ASSEMBLY - 1:
                await asyncio.sleep(0)
        self._refuse(too_long, room, cut_helps=cut_helps)
        _refuse_unknown(unknown)
        return Tokenized(encodings, time.perf_counter() - began)

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, special tokens included, nothing cut."""
        return [len(ids) + self._template.extra for ids in await self._tokenize(texts)]

    async def decode(self, inputs: Sequence[Sequence[int]], *, name: str = "token_inputs") -> list[str]:
        """Return the texts that ids of the model's vocabulary stand for; special tokens stand for nothing.

        Args:
            inputs: The ids of each text.
            name: What the caller calls the inputs, for error messages.

        Raises:
            InvalidInput: There is an id that the vocabulary does not have; the first of each input is named.
        """
        return await self._loop.run_in_executor(self._thread, self._decode, inputs, name)

    def _decode(self, inputs: Sequence[Sequence[int]], name: str) -> list[str]:
        size = self._library.get_vocab_size(with_added_tokens=True)
        unknown = (
            next((place for place, one in enumerate(ids) if not 0 <= one < size), None) for ids in inputs
        )
        wrong = [
            (f"{name}[{index}].ids[{place}]", f"is not in the vocabulary, whose ids are 0 to {size - 1}")
            for index, place in enumerate(unknown)
            if place is not None
        ]
        if wrong:
            raise InvalidInput(wrong)
        return self._library.decode_batch([list(ids) for ids in inputs], skip_special_tokens=True)

    def close(self) -> None:
        """End the worker thread. No call may be in flight."""
        self._thread.shutdown(wait=False)

    @cached_property
    def _pair_template(self) -> PairTemplate:
        return PairTemplate.read(self._library)  # not every tokenizer can do it, and few models need it

    async def _tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Return the bare tokens of each text."""
        if len(texts) == 1 and len(texts[0]) <= SHORT_CHARACTERS:
            return [self._library.encode(texts[0], add_special_tokens=False).ids]
        loop = self._loop
        slices = [
            _Slice(texts[first : first + SLICE], loop.create_future())
            for first in range(0, len(texts), SLICE)
        ]
        self._waiting.append(deque(slices))
        self._next_pass()
        parts = await asyncio.gather(*(part.future for part in slices))
        return [ids for part in parts for ids in part]

    def _next_pass(self) -> None:
        """Begin a pass over slices that wait, unless one is under way."""
        if self._running:
            return
        turn: list[_Slice] = []
        size = 0
        while self._waiting and size < LARGEST_PASS:
            call = self._waiting.popleft()
            part = call.popleft()
            if call:
                self._waiting.append(call)
            if not part.future.done():  # else: its caller has left
                turn.append(part)
                size += len(part.texts)
        if turn:
            self._running = True
            texts = [text for part in turn for text in part.texts]
            passing = self._loop.run_in_executor(self._thread, self._encode_batch, texts)
            passing.add_done_callback(partial(self._end_pass, turn))

    def _end_pass(self, turn: list[_Slice], passing: asyncio.Future[list[Ids]]) -> None:
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

    def _encode_batch(self, texts: list[str]) -> list[Ids]:
        found = self._library.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def _shorten(self, text: str, truncation: Truncation) -> str:
        room = self._max_tokens * CHARACTERS_PER_TOKEN
        if truncation == "none" or len(text) <= room:
            return text
        return text[:room] if truncation == "right" else text[-room:]

    def _refuse(self, lengths: Mapping[str, int], room: int, *, cut_helps: bool = True) -> None:
        """Raise if there are texts that are too long, given by their lengths without special tokens."""
        if lengths:
            specials = self._max_tokens - room
            raise InputTooLong(
                {name: length + specials for name, length in lengths.items()},
                self._max_tokens,
                cut_helps=cut_helps,
            )


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """Return the tokenizer of a model's `tokenizer.json`.

    Raises:
        ArtifactProblem: The file is missing or damaged, or leaves no room for text in `max_tokens`.
    """
    return Tokenizer(read_tokenizer(path, max_tokens), max_tokens)


def read_tokenizer(path: Path, max_tokens: int, *, pairs: bool = False) -> Library:
    """Read a `tokenizer.json`. Large vocabularies take a second: call it off the event loop.

    Args:
        path: The file.
        max_tokens: Longest input, special tokens included.
        pairs: Whether the model reads pairs of texts.

    Raises:
        ArtifactProblem: The file is missing or damaged, does what cannot be done here, or leaves no room in
            `max_tokens` for a token of each text.
    """
    try:
        library = Library.from_file(str(path))
        library.no_padding()
        library.no_truncation()
        extra = Template.read(library).extra
        pair_extra = PairTemplate.read(library).extra if pairs else 0
    except (ArtifactProblem, *OURS):
        raise
    except BaseException as error:  # the library raises plain Exception, or panics, which is none
        message = f"{path.name} cannot be read: {error}"
        raise ArtifactProblem(message) from error
    if extra >= max_tokens:
        message = f"max_input_tokens {max_tokens} leaves no room beside the special tokens"
        raise ArtifactProblem(message)
    if pairs and pair_extra + 2 > max_tokens:
        message = f"max_input_tokens {max_tokens} leaves no room for two texts beside the special tokens"
        raise ArtifactProblem(message)
    return library


def _refuse_unknown(names: Iterable[str]) -> None:
    """Raise if there are texts, by what their caller calls them, of which nothing is left."""
    if wrong := [(name, "has no token that the model knows") for name in names]:
        raise InvalidInput(wrong)
