"""`Embed`, `Rerank`, `Infer` and `Classify`: item by item where that is possible, else passed on as bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
from inglenook.embed.v1 import EmbedRequest
from inglenook.nli.v1 import ClassifyRequest, InferRequest
from inglenook.rerank.v1 import RerankRequest

from services.chassis.deadline import remaining_seconds
from services.chassis.trailing import add_trailing
from services.config import Capability, Configuration, Limits
from services.router.capabilities import is_safe
from services.router.items import classify, embed, infer, rerank
from services.router.items.answering import answer
from services.router.items.call import Call, Reply
from services.router.items.messages import read_request
from services.router.items.mode import MODE_KEY, Mode, Result, mode_of
from services.router.items.question import Question
from services.router.items.recall import Recall
from services.router.routing.explain import relayed
from services.router.servicer.delegate import Context, Delegate
from services.router.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Kind:
    """How the requests of a method are taken apart.

    Attributes:
        request: Their message.
        question: Takes one apart that is for a model; None if only the backend can judge it.
    """

    request: type[Any]
    question: Callable[[Any, str, Limits], Question | None]


KINDS: Final = {
    embed.METHOD: Kind(EmbedRequest, embed.EmbedQuestion.of),
    rerank.METHOD: Kind(RerankRequest, rerank.RerankQuestion.of),
    infer.METHOD: Kind(InferRequest, infer.InferQuestion.of),
    classify.METHOD: Kind(ClassifyRequest, classify.ClassifyQuestion.of),
}


class ItemServicer(Delegate):
    """Answers the methods of one capability whose requests are lists of items; passes on the others."""

    def handler(self, method: str, *, streams: bool) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a handler for `method` (`/package.Service/Method`)."""
        if (kind := KINDS.get(method)) is None:
            return super().handler(method, streams=streams)
        return grpc.unary_unary_rpc_method_handler(partial(self.answer, method, kind, Recall()))

    async def answer(
        self, method: str, kind: Kind, recall: Recall, content: bytes, context: Context
    ) -> bytes:
        """Answer a call, at once if it came before and all of it is known.

        Raises:
            InvalidRequest: It wants something of the cache that there is not.
            NoBackend: No replica could answer.
            DeadlinePassed: The deadline passed first.
            Relayed: A replica answered with an error.
            Garbled: A replica's answer is none to what it was asked.
        """
        mode = mode_of(context.invocation_metadata(), Mode.ON)
        with self._current.use() as wiring:
            route, cache = wiring.routes[self._capability], wiring.cache
            if cache.enabled and mode is Mode.ON:
                again = await recall.answer(content, wiring.file, route, cache)
                if again is not None:
                    tell(context, again)
                    return again.content
            split_inputs = route.width > 1 and _split_inputs(wiring, self._capability)
            model, question = "", None
            if split_inputs or (cache.enabled and mode is not Mode.OFF):
                model, question = self._read(kind, content, wiring.configuration)
            call = Call(
                method=method,
                content=content,
                model=model,
                mode=mode,
                until=time.monotonic() + wiring.timeout(remaining_seconds(context)),
                safe=is_safe(method),
                route=route,
                cache=cache,
                split_inputs=split_inputs,
            )
            reply = await answer(call, question)
            if question is not None and reply.result is Result.HIT:
                await recall.remember(content, question, model, route)
        tell(context, reply)
        return reply.content

    def _read(self, kind: Kind, content: bytes, configuration: Configuration) -> tuple[str, Question | None]:
        """Return the model that a request is for and the request taken apart, as far as that can be."""
        request = read_request(kind.request, content)
        if request is None or not (model := model_of(configuration, self._capability, request.model)):
            return "", None
        return model, kind.question(request, model, configuration.limits)


def tell(context: Context, reply: Reply) -> None:
    """Send with the end of a call who answered it, and what the cache was to it."""
    entry = (MODE_KEY, reply.result)  # a string; asking an enum's member for its value costs a call
    if reply.trailing is None:
        add_trailing(context, entry)
    else:
        context.set_trailing_metadata((*relayed(reply.trailing), entry))


def model_of(configuration: Configuration, capability: Capability, name: str) -> str:
    """Return the public name of the model that a request means; empty if that is for the backend to say."""
    if name:
        section = configuration.models.get(name)
        return name if section is not None and section.capability == capability else ""
    names = [name for name, section in configuration.models.items() if section.capability == capability]
    return names[0] if len(names) == 1 else ""


def _split_inputs(wiring: Wiring, capability: Capability) -> int:
    route = wiring.configuration.routes.get(capability)
    return route.split_inputs if route is not None else 0
