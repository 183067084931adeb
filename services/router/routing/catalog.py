"""What models a replica has: asked when it becomes healthy, and every few seconds after that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import grpc
from inglenook.common.v1 import Capability as WireCapability
from inglenook.common.v1 import ConfigStatus, ModelInfo
from inglenook.model.v1 import ListModelsRequest, ModelServiceStub

from services.chassis.listing import BRIEF
from services.chassis.tasks import end
from services.config import Capability
from services.router.capabilities import WIRE

LIST_SECONDS: Final = 5.0
"""How often a replica is asked."""
ASK_SECONDS: Final = 2.0
"""How long it may take to answer."""
PATIENCE_SECONDS: Final = 0.5
"""How long a call waits for what it may tell."""
SILENT_SECONDS: Final = 5.0
"""For how long nobody waits for a replica that did not answer."""
STRANGE_SECONDS: Final = 1.0
"""For how long an answer from a model that was not listed is no news."""
QUIET: Final = WireCapability.CAPABILITY_RERANK
"""What chat services are asked for, which have none of it: of what they have, nothing here depends on it."""


class Catalog:
    """The models of one replica, as it last told them.

    Args:
        capability: Only models that do this.
        channel: Returns the channel to the replica.
        serves: Says whether there is any use in asking.

    Attributes:
        models: By public name.
        config: The configuration that the replica has in force; None when it does not tell.
        complete: It has told, and what it did not name it does not have.
        fresh: It has told since it last became healthy.
    """

    def __init__(
        self, capability: Capability, channel: Callable[[], grpc.aio.Channel], serves: Callable[[], bool]
    ) -> None:
        self._capability = capability
        self._channel = channel
        self._serves = serves
        self._due = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._silent_until = 0.0
        self._strange = ("", 0.0)
        self._fingerprints: frozenset[str] = frozenset()
        self.models: Mapping[str, ModelInfo] = {}
        self.config: ConfigStatus | None = None
        self.complete = False
        self.fresh = False
        self._listing = asyncio.create_task(self._keep_listing(), name="list-models")

    def doubt(self) -> None:
        """Ask again soon: another process may listen there, or it may have other models."""
        self.fresh = False
        self._due.set()

    def heard(self, fingerprint: str) -> None:
        """Note which model an answer came from: one that it did not list is a reason to ask again.

        The same one is no reason twice within `STRANGE_SECONDS`: calls that still have the model from before
        a change go on answering, and some services never list what they answer with.
        """
        if not self.complete or fingerprint in self._fingerprints:
            return
        now = asyncio.get_running_loop().time()
        strange, until = self._strange
        if fingerprint != strange or now >= until:
            self._strange = (fingerprint, now + STRANGE_SECONDS)
            self.doubt()

    async def known(self) -> None:
        """Return once the replica has told, at once if it has, or has just failed to."""
        if not self.fresh and asyncio.get_running_loop().time() >= self._silent_until:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self.refresh()

    async def refresh(self) -> None:
        """Ask now; those who come while it is being asked wait for the same answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="ask-for-models")
        await asyncio.wait({self._asking})  # what becomes of it is no business of those who wait

    async def close(self) -> None:
        """Stop asking."""
        await end(self._listing, self._asking)

    async def _keep_listing(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LIST_SECONDS):
                    await self._due.wait()
            self._due.clear()
            if self._serves():
                await self.refresh()

    async def _ask(self) -> None:
        chats = self._capability == "chat"
        request = ListModelsRequest(capability=QUIET if chats else WIRE[self._capability])
        try:
            response = await ModelServiceStub(self._channel()).ListModels(
                request, timeout=ASK_SECONDS, metadata=(BRIEF,)
            )
        except grpc.aio.AioRpcError as error:  # what it has told before is the best that is known
            self.fresh = error.code() is grpc.StatusCode.UNIMPLEMENTED  # it will never tell
            self._silent_until = asyncio.get_running_loop().time() + SILENT_SECONDS
            return
        self.models = {info.name: info for info in response.models if not chats}
        self._fingerprints = frozenset(info.fingerprint for info in self.models.values())
        self.config = response.config if response.HasField("config") else None
        self.complete = not chats
        self.fresh = True
