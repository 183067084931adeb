"""NLI models for tests: loaded as a service does, or over logits that are a hash of the tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library

from services.config import Limits, NliModel
from services.inference.batching import Batcher, BatchStats
from services.inference.encoding import Encoding
from services.inference.lifecycle import ModelFacts
from services.inference.loading import ModelLoader, Workshop, nli_recipe
from services.inference.models.labels import Roles
from services.inference.models.nli import EntailmentModel
from services.inference.tokenizer import Tokenizer
from tests.support.engine_parts import ignore
from tests.support.onnx_files import POISON
from tests.support.runners import ROOMY, OddRunner, Poisoned
from tests.support.tiny import write_tokenizer

MAX_TOKENS: Final = 64
THREE: Final = Roles(entailment=1, neutral=2, contradiction=0)

Doubles = NDArray[np.float64]


async def load_nli_model(
    folder: Path,
    place: Workshop,
    observe: Callable[[BatchStats], None] = ignore,
    **section: Any,
) -> tuple[EntailmentModel, ModelFacts]:
    """Load the model of a folder as the service does; return it and what is known of it."""
    loader = ModelLoader(place, nli_recipe, lambda _: observe)
    described = NliModel(capability="nli", source=f"dir:{folder}", **section)
    prepared = await loader.prepare("tiny", described, lambda _: None)
    model = await prepared.open()
    return model, prepared.facts


def hashed(ids: Sequence[int], width: int) -> Doubles:
    """Return logits that are the same for the same tokens, and for no others."""
    return np.random.default_rng(list(ids)).normal(0, 2, width).astype(np.float32).astype(np.float64)


def softmax(logits: Doubles) -> Doubles:
    """Return probabilities, by the formula."""
    return np.asarray(np.exp(logits) / np.exp(logits).sum())


class Judge:
    """An NLI model over hashed logits, and what it should answer. All of it is real but the session.

    Attributes:
        model: The model. `POISON_TEXT` in a text cannot be computed.
        computed: The tokens of every pair that was run, in whatever order.
    """

    def __init__(self, folder: Path, roles: Roles, width: int, limits: Limits) -> None:
        self.computed: list[list[int]] = []
        self._width = width
        self._library = write_tokenizer(folder / "tokenizer.json")
        tokenizer = Tokenizer(Library.from_file(str(folder / "tokenizer.json")), MAX_TOKENS)
        batcher = Batcher("tiny", OddRunner(self._run), ROOMY, ignore)
        self.model = EntailmentModel(limits, tokenizer, batcher, roles)

    def _run(self, encodings: Sequence[Encoding]) -> Sequence[NDArray[Any]]:
        if any(POISON in encoding.ids for encoding in encodings):
            message = "poison"
            raise Poisoned(message)
        self.computed += [encoding.ids for encoding in encodings]
        return [hashed(encoding.ids, self._width).astype(np.float32) for encoding in encodings]

    def ids(self, premise: str, hypothesis: str, side: Literal["right", "left"] = "right") -> list[int]:
        """Return the tokens of a pair, its premise cut by the library if it is too long."""
        self._library.enable_truncation(MAX_TOKENS, strategy="only_first", direction=side)
        return list(self._library.encode(premise, hypothesis).ids)

    def logits(self, premise: str, hypothesis: str, side: Literal["right", "left"] = "right") -> Doubles:
        """Return the logits of a pair."""
        return hashed(self.ids(premise, hypothesis, side), self._width)


@asynccontextmanager
async def judging(
    folder: Path, roles: Roles = THREE, *, width: int = 3, limits: Limits | None = None
) -> AsyncIterator[Judge]:
    """Make a judge; in the end its model is closed."""
    judge = Judge(folder, roles, width, limits or Limits())
    try:
        yield judge
    finally:
        await judge.model.close()
