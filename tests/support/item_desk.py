"""The router's item servicer without sockets: a request goes in, a response comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

from prometheus_client import CollectorRegistry

from services.config import Limits
from services.config.sections.cache import Cache as CacheSection
from services.config.sections.models import EmbedModel, NliModel, RerankModel
from services.router.cache.cache import Cache, open_cache
from services.router.cache.metrics import CacheMetrics
from services.router.servicer.items import ItemServicer
from tests.support.contexts import FakeContext
from tests.support.item_backend import (
    CLASSIFY,
    EMBED,
    INFER,
    RERANK,
    RESPONSES,
    ItemRoute,
    Items,
)

CAPABILITIES: Final[dict[str, Any]] = {EMBED: "embed", RERANK: "rerank", INFER: "nli", CLASSIFY: "nli"}
SECTIONS: Final[dict[str, Any]] = {"embed": EmbedModel, "rerank": RerankModel, "nli": NliModel}


class ItemContext(FakeContext):
    """A context with metadata."""

    def __init__(self, mode: str | None, seconds: float | None) -> None:
        super().__init__(seconds)
        self.trailing = (("inglenook-served-by", "router:1"),)
        self._metadata = (("user-agent", "test"), *((("inglenook-cache", mode),) if mode else ()))

    def invocation_metadata(self) -> Any:
        """Return what came with the call."""
        return self._metadata


class Desk:
    """The servicer of one method, in front of backends.

    Attributes:
        items: The first backend.
        route: The route to them.
        cache: The cache.
        metrics: Its counters.
        said: Trailing metadata of the last answer.
    """

    def __init__(self, method: str, *backends: Items, split_inputs: int = 0, url: str = "memory:") -> None:
        self.method = method
        self.capability = CAPABILITIES[method]
        self.items = backends[0] if backends else Items()
        self.route = ItemRoute(self.capability, *(backends or (self.items,)))
        self.registry = CollectorRegistry()
        self.cache: Cache = open_cache(CacheSection(url=url), CacheMetrics(self.registry))
        section = SECTIONS[self.capability](capability=self.capability, source="dir:m")
        self.configuration: Any = SimpleNamespace(
            models={"m": section},
            routes={self.capability: SimpleNamespace(split_inputs=split_inputs)},
            limits=Limits(),
        )
        self.said: dict[str, Any] = {}
        self.file = object()
        servicer = ItemServicer(self.capability, self)  # type: ignore[arg-type]  # of the same shape
        self._handlers: dict[str, Any] = {one: servicer.handler(one, streams=False) for one in CAPABILITIES}

    @property
    def routes(self) -> Any:
        """The route, as a wiring has it."""
        return {self.capability: self.route}

    def timeout(self, remaining: float | None) -> float:
        """Return how long a call may take."""
        return 60.0 if remaining is None else remaining

    @contextmanager
    def use(self) -> Iterator[Any]:
        """Give itself, as `Current` gives the wiring in force."""
        yield self

    async def raw(self, content: bytes, mode: str | None = None, seconds: float | None = None) -> bytes:
        """Answer one call, bytes to bytes."""
        context: Any = ItemContext(mode, seconds)
        response: bytes = await self._handlers[self.method].unary_unary(content, context)
        self.said = dict(context.trailing)
        return response

    async def ask(self, request: Any, mode: str | None = None, seconds: float | None = None) -> Any:
        """Answer one call."""
        content = await self.raw(request.SerializeToString(), mode, seconds)
        return RESPONSES[self.method].FromString(content)

    async def directly(self, request: Any) -> Any:
        """Return what a backend of the same kind answers, of which nobody counts what it computes."""
        fresh = Items(self.items.fingerprint)
        content = await fresh.respond(self.method, request.SerializeToString())
        return RESPONSES[self.method].FromString(content)


def same(response: Any, other: Any) -> bool:
    """Say whether two responses say the same, but for what they cost and where it came from."""
    for one in (response, other):
        for name in ("usage", "timings", "cached_inputs"):
            one.ClearField(name)
    return bool(response.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True))


async def settled() -> None:
    """Let every task that can run do so until all of them wait."""
    for _ in range(20):
        await asyncio.sleep(0)
