"""Which backends of a route may answer for a model.

A model is known by its public name: a backend that does not have it is not asked for it. Embeddings need
more care, because those of different models cannot be compared: a call for one goes to a backend that has
that very model, or one whose `vector_space` is the same, and then asks for that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from inglenook.common.v1 import ModelInfo
from inglenook.embed.v1 import EmbedRequest

from services.config import AnyModel, Capability, EmbedModel, RemoteEmbedModel
from services.router.capabilities import MODEL_SERVICE, SERVICES
from services.router.routing.call import Ask
from services.router.routing.pool import Pool

EMBED: Final = "/inglenook.embed.v1.EmbedService/Embed"

REQUESTS: Final[Mapping[str, type[Message]]] = {
    f"/{service.full_name}/{method.name}": message_factory.GetMessageClass(method.input_type)
    for service in (*SERVICES.values(), MODEL_SERVICE)
    for method in service.methods
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A backend that may answer a call.

    Attributes:
        pool: Its replicas.
        content: The request, as this backend is asked.
        instead: It has another model, whose embeddings can be compared with those of the one asked for.
    """

    pool: Pool
    content: bytes
    instead: bool = False


class Spaces:
    """Knows which backends may answer for which model.

    Args:
        capability: What they are asked for.
        models: The models of the configuration.
    """

    def __init__(self, capability: Capability, models: Mapping[str, AnyModel]) -> None:
        self._capability = capability
        self._spaces = {
            name: section.vector_space
            for name, section in models.items()
            if isinstance(section, EmbedModel | RemoteEmbedModel)
        }

    def offers(self, ask: Ask, pools: Sequence[Pool]) -> list[Offer]:
        """Return the backends that may answer a call, in the order of the route, one at least."""
        if len(pools) == 1:
            return [Offer(pools[0], ask.content)]
        if self._capability == "embed":
            model = ask.model or model_of(ask)
            if not model and len(self._spaces) == 1:
                model = next(iter(self._spaces))
            found = list(self._same_space(ask, model, pools))
        elif any(map(has_told, pools)):  # else nothing is known, and a request need not be read for it
            model = ask.model or model_of(ask)
            found = [Offer(pool, ask.content) for pool in pools if not lacks(pool, model)]
        else:
            found = [Offer(pool, ask.content) for pool in pools]
        return found or [Offer(pools[0], ask.content)]

    def _same_space(self, ask: Ask, model: str, pools: Sequence[Pool]) -> Iterator[Offer]:
        """Yield the backends that have the model, or one whose embeddings can be compared with its."""
        fingerprints = (info.fingerprint for pool in pools if (info := told(pool, model)) is not None)
        reference = next(filter(None, fingerprints), "")
        for pool in pools:
            info = told(pool, model)
            if info is not None:
                if not reference or info.fingerprint in ("", reference):
                    yield Offer(pool, ask.content)
            elif ask.method == EMBED and (other := self._substitute(pool, model)) is not None:
                yield Offer(pool, _renamed(ask.content, other), instead=True)

    def _substitute(self, pool: Pool, model: str) -> str | None:
        """Return a model of a backend that is in the same space, the first one of the configuration."""
        space = self._spaces.get(model)
        if space is None:
            return None
        same = (name for name, other in self._spaces.items() if other == space)
        return next((name for name in same if told(pool, name) is not None), None)


def told(pool: Pool, model: str) -> ModelInfo | None:
    """Return what a backend tells of a model: what healthy replicas say goes before what others said."""
    found = [
        (endpoint.is_healthy, info)
        for endpoint in pool.endpoints
        if (info := endpoint.catalog.models.get(model)) is not None
    ]
    return max(found, key=lambda one: (one[0], bool(one[1].fingerprint)))[1] if found else None


def lacks(pool: Pool, model: str) -> bool:
    """Say whether a backend certainly does not have a model: all of its replicas have told what they have."""
    return has_told(pool) and bool(model) and told(pool, model) is None


def has_told(pool: Pool) -> bool:
    """Say whether all replicas of a backend have told what they have."""
    endpoints = pool.endpoints
    return bool(endpoints) and all(endpoint.catalog.complete for endpoint in endpoints)


def model_of(ask: Ask) -> str:
    """Return the model that a request names; empty if it names none, or cannot be read."""
    kind = REQUESTS.get(ask.method)
    if kind is None:
        return ""
    try:
        request: Any = kind.FromString(ask.content)
    except DecodeError:
        return ""
    return str(getattr(request, "model", ""))


def _renamed(content: bytes, model: str) -> bytes:
    request = EmbedRequest.FromString(content)
    request.model = model
    return request.SerializeToString()
