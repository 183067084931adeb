"""`NliService`: the wire in, the wire out, nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence

from inglenook.common.v1 import Timings, Usage
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
    NliServiceServicer,
    RawScores,
)

from services.chassis.trailing import FINGERPRINT_KEY, add_trailing
from services.config import Limits
from services.inference.errors import InvalidInput
from services.inference.lifecycle import Registry
from services.inference.models.nli import Cost, EntailmentModel, Inference, InferOptions, Pair
from services.inference.models.texts import check_count
from services.inference.models.turns import SLICE, turns
from services.inference.models.zero_shot import DEFAULT_TEMPLATE, ClassifyOptions
from services.inference.models.zero_shot import LabelScore as Ranked
from services.serving.options import TRUNCATIONS, Context, deadline_of, require_known
from services.serving.wire import timings


class NliServicer(NliServiceServicer):
    """Answers Infer and Classify with the models of `registry`, within `limits`."""

    def __init__(self, registry: Registry[EntailmentModel], limits: Limits) -> None:
        self._registry = registry
        self._limits = limits

    async def Infer(self, request: InferRequest, context: Context) -> InferResponse:
        """Judge a list of pairs with one model."""
        began = time.perf_counter()
        require_known(("truncation", request.truncation, TRUNCATIONS))
        options = InferOptions(TRUNCATIONS[request.truncation], deadline_of(context))
        name = self._registry.resolve(request.model)
        pairs = await _pairs(request, self._limits)
        lease = self._registry.use(name, options.deadline)
        async with lease as model:
            add_trailing(context, (FINGERPRINT_KEY, lease.fingerprint))
            judged = await model.infer(pairs, options)
        del model  # else it is still there when an unload gives back what was freed
        results = await _inferences(judged.results, raw=request.raw_scores)
        return InferResponse(
            results=results,
            model=name,
            usage=Usage(input_tokens=judged.cost.input_tokens),
            timings=_timings(began, judged.cost),
        )

    async def Classify(self, request: ClassifyRequest, context: Context) -> ClassifyResponse:
        """Score labels for a list of texts with one model."""
        began = time.perf_counter()
        require_known(("truncation", request.truncation, TRUNCATIONS))
        options = ClassifyOptions(
            hypothesis_template=request.hypothesis_template or DEFAULT_TEMPLATE,
            multi_label=request.multi_label,
            truncation=TRUNCATIONS[request.truncation],
            deadline=deadline_of(context),
        )
        name = self._registry.resolve(request.model)
        labels: Sequence[str] = request.labels  # too many are not looked at: the model refuses them
        if len(labels) <= self._limits.max_client_batch_size:
            labels = list(labels)
        lease = self._registry.use(name, options.deadline)
        async with lease as model:
            add_trailing(context, (FINGERPRINT_KEY, lease.fingerprint))
            classified = await model.classify(request.inputs, labels, options)
        del model  # as above
        results = await _classifications(classified.results, labels)
        return ClassifyResponse(
            results=results,
            model=name,
            usage=Usage(input_tokens=classified.cost.input_tokens),
            timings=_timings(began, classified.cost),
        )


async def _pairs(request: InferRequest, limits: Limits) -> list[Pair]:
    """Return the pairs of a request, without holding the event loop for long.

    Raises:
        InvalidInput: There are none or too many, which is found out without looking at them.
    """
    if wrong := check_count("pairs", len(request.pairs), "pair", limits):
        raise InvalidInput(wrong)
    pairs: list[Pair] = []
    async for part in turns(len(request.pairs)):
        pairs += [Pair(pair.premise, pair.hypothesis) for pair in request.pairs[part]]
    return pairs


async def _inferences(inferences: Sequence[Inference], *, raw: bool) -> list[InferResult]:
    """Return probabilities as messages, likewise, with their logits if `raw`. None leaves a field out."""
    results: list[InferResult] = []
    async for part in turns(len(inferences)):
        results += [
            InferResult(
                entailment=one.entailment,
                neutral=one.neutral,
                contradiction=one.contradiction,
                raw_scores=RawScores(entailment=one.logits[0], opposite=one.logits[1]) if raw else None,
            )
            for one in inferences[part]
        ]
    return results


async def _classifications(
    rankings: Sequence[Sequence[Ranked]], labels: Sequence[str]
) -> list[ClassifyResult]:
    """Return the ranked labels of each text as messages, likewise."""
    results: list[ClassifyResult] = []
    async for part in turns(len(rankings), max(1, SLICE // len(labels))):
        for ranking in rankings[part]:
            results.append(ClassifyResult())
            async for few in turns(len(ranking)):
                scores = (LabelScore(label=labels[place], score=score) for place, score in ranking[few])
                results[-1].scores.extend(scores)
    return results


def _timings(began: float, cost: Cost) -> Timings:
    """Return where the time of a call went that began at a `time.perf_counter`."""
    return timings(
        total=time.perf_counter() - began,
        tokenize=cost.tokenize_seconds,
        queue=cost.queue_seconds,
        inference=cost.inference_seconds,
    )
