"""Backends that are hashes (`item_backend`), behind a real router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from inglenook.common.v1 import Capability, ModelInfo, ModelState
from inglenook.model.v1 import ListModelsResponse

from tests.support.backend import Context, FakeBackend, serving
from tests.support.item_backend import Items
from tests.support.routing import Routed, routed

WIRE: Final = {
    "embed": Capability.CAPABILITY_EMBED,
    "rerank": Capability.CAPABILITY_RERANK,
    "nli": Capability.CAPABILITY_NLI,
}
MODEL: Final = '[models.m]\ncapability = "{capability}"\nsource = "dir:m"\n'


async def _list(items: Items, capability: str, content: bytes, context: Context) -> bytes:
    """Say which model a replica has now."""
    del content, context
    info = ModelInfo(
        name="m",
        capability=WIRE[capability],
        state=ModelState.MODEL_STATE_READY,
        fingerprint=items.fingerprint,
    )
    return ListModelsResponse(models=[info]).SerializeToString()


@asynccontextmanager
async def serving_items(capability: str, backends: Sequence[Items]) -> AsyncIterator[list[FakeBackend]]:
    """Run each of them as a replica of one backend."""
    async with AsyncExitStack() as stack:
        fakes = []
        for items in backends:
            fake = FakeBackend(lists=partial(_list, items, capability))
            fake.unary = partial(items.unary, fake)
            fakes.append(await stack.enter_async_context(serving(fake)))
        yield fakes


@asynccontextmanager
async def routed_to(
    folder: Path, capability: str, fakes: Sequence[FakeBackend], *, more: str = ""
) -> AsyncIterator[Routed]:
    """Run a router in front of replicas."""
    addresses = [fake.address for fake in fakes]
    text = MODEL.format(capability=capability) + more
    async with routed(folder, {capability: addresses}, more=text) as router:
        yield router
