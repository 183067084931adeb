"""What the servicers of all engine services have in common."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from inglenook.model.v1 import CountTokensRequest

from services.config import Limits
from services.embed.servicer import EmbedServicer
from services.inference.errors import InvalidInput, ModelNotFound
from services.inference.lifecycle import LifecycleSettings, Registry
from services.inference.models.cross_encoder import CrossEncoder
from services.inference.models.nli import Inference
from services.inference.models.reranking import Scored
from services.inference.models.zero_shot import LabelScore, violations
from services.nli.servicer import NliServicer
from services.rerank.servicer import RerankServicer
from services.serving.model_servicer import ModelServicer
from tests.support.contexts import fake_context
from tests.support.lifecycle import FACTS, LIMIT_SECONDS, section

LIMITS = Limits()
REQUEST: dict[str, Any] = {
    "model": "m",
    "truncation": 0,
    "encoding": 0,
    "input_type": 0,
    "inputs": ["a"],
    "token_inputs": [],
    "labels": ["a"],
    "pairs": [SimpleNamespace(premise="a", hypothesis="a")],
    "query": "a",
    "documents": ["a"],
    "raw_scores": False,
    "return_documents": False,
    "hypothesis_template": "",
    "multi_label": False,
    "HasField": lambda _: False,
}


class Done(Exception):
    """The test has seen enough."""


class Endless(Sequence[Any]):
    """More results than anybody writes, of which the first is there at once.

    Attributes:
        begun: Set when one is asked for.
        over: Ends it.
    """

    def __init__(self, item: Any) -> None:
        self.begun = asyncio.Event()
        self.over = False
        self._item = item

    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, place: Any) -> Any:
        self.begun.set()
        if self.over:
            raise Done
        return [self._item] * (place.stop - place.start) if isinstance(place, slice) else self._item


class Unread(Sequence[Any]):
    """A million of something that nobody may look at."""

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, place: Any) -> Any:
        raise AssertionError(place)


class Answering:
    """A model that answers everything with the same results. Satisfies `lifecycle.LoadedModel`."""

    max_input_tokens = FACTS.max_input_tokens
    queue_size = 0
    utilization = 0.0

    def __init__(self, results: Sequence[Any]) -> None:
        cost = {"input_tokens": 1, "tokenize_seconds": 0, "queue_seconds": 0, "inference_seconds": 0}
        self._answer = SimpleNamespace(results=results, vectors=results, cost=SimpleNamespace(**cost), **cost)

    async def embed(self, *_: Any) -> Any:
        """Return the results."""
        return self._answer

    rerank = infer = classify = embed

    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return a number for each text."""
        return [1] * len(inputs)

    async def close(self) -> None:
        """Have nothing to give back."""


class Refusing(CrossEncoder):
    """A real reranker without tokenizer and sessions, which it needs for what it does not refuse."""

    def __init__(self) -> None:
        nothing: Any = None
        super().__init__(LIMITS, nothing, nothing)

    async def classify(self, inputs: Sequence[str], labels: Sequence[str], options: Any) -> Any:
        """Refuse what an NLI model refuses."""
        raise InvalidInput(violations(inputs, labels, options, LIMITS))

    async def close(self) -> None:
        """Have nothing to give back."""


class Opens:
    """Loads what it is told to. Satisfies `lifecycle.Loader` and `lifecycle.Prepared`."""

    weight_bytes = 1
    facts = FACTS

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    async def prepare(self, *_: Any) -> Any:
        """Return what opens it."""
        return self

    async def open(self) -> Any:
        """Make a model."""
        return self._make()


async def told() -> None:
    """Be told of a change."""


def registry(make: Callable[[], Any], release: Callable[[], None] = lambda: None) -> Registry[Any]:
    """Return a registry of one model."""
    return Registry({"m": section()}, Opens(make), told, settings=LifecycleSettings(), release=release)


@pytest.mark.parametrize(
    ("servicer", "method", "item"),
    [
        (EmbedServicer, "Embed", np.zeros(4, np.float32)),
        (lambda models: RerankServicer(models, LIMITS), "Rerank", Scored(0, 0.5)),
        (lambda models: NliServicer(models, LIMITS), "Infer", Inference(0.5, 0.25, 0.25, (0.0, 0.0))),
        (lambda models: NliServicer(models, LIMITS), "Classify", [LabelScore(0, 0.5)]),
    ],
    ids=["embed", "rerank", "infer", "classify"],
)
async def test_answer_that_is_being_written_keeps_no_model_in_memory(
    servicer: Callable[[Registry[Any]], Any], method: str, item: Any
) -> None:
    """An unload gives freed memory back and measures it; what lives a little longer would count for ever."""
    results = Endless(item)
    made: list[weakref.ref[Answering]] = []
    gone: list[bool] = []

    def make() -> Answering:
        model = Answering(results)
        made.append(weakref.ref(model))
        return model

    models = registry(make, lambda: gone.append(not any(ref() for ref in made)))
    call = asyncio.create_task(getattr(servicer(models), method)(SimpleNamespace(**REQUEST), fake_context()))
    async with asyncio.timeout(LIMIT_SECONDS):
        await results.begun.wait()
        gc.collect()

        await models.unload("m")

        assert gone[-1]
        results.over = True
        with pytest.raises(Done):
            await call
    await models.close()


@pytest.mark.parametrize(
    ("servicer", "method", "field", "what"),
    [
        (RerankServicer, "Rerank", "documents", "documents"),
        (NliServicer, "Infer", "pairs", "pairs"),
        (NliServicer, "Classify", "labels", "labels"),
    ],
)
async def test_far_too_many_items_are_counted_and_not_looked_at(
    servicer: Callable[..., Any], method: str, field: str, what: str
) -> None:
    """A million empty pairs fit into one message; to read them all first is what an attacker wants."""
    models = registry(Refusing)
    request = SimpleNamespace(**{**REQUEST, field: Unread()})

    with pytest.raises(InvalidInput) as refused:
        await getattr(servicer(models, LIMITS), method)(request, fake_context())

    assert refused.value.violations == (
        (field, f"has 1000000 {what}, {LIMITS.max_client_batch_size} at most per call"),
    )
    await models.close()


async def test_counting_tokens_needs_the_name_of_a_model() -> None:
    """The contract says so: tokens of one model mean nothing for another."""
    models = registry(lambda: Answering([]))
    servicer = ModelServicer(models)

    with pytest.raises(ModelNotFound):
        await servicer.CountTokens(CountTokensRequest(inputs=["a"]), fake_context())

    counted = await servicer.CountTokens(CountTokensRequest(model="m", inputs=["a"]), fake_context())
    assert (list(counted.token_counts), counted.model) == ([1], "m")
    await models.close()
