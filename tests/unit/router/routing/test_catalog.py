"""What an answer says of the list of models that a replica has given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from services.router.routing import catalog as module
from services.router.routing.catalog import Catalog


@pytest.fixture
async def catalog() -> AsyncIterator[Catalog]:
    """Return the catalog of a replica that is not asked by itself, and that has listed nothing."""
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    made = Catalog("embed", lambda: channel, lambda: False)
    made.complete = made.fresh = True
    yield made
    await made.close()
    await channel.close()


async def test_an_answer_from_a_model_that_was_not_listed_casts_doubt_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that never lists what it answers with is not asked for every call."""
    catalog.heard("new")
    assert not catalog.fresh
    catalog.fresh = True
    catalog.heard("new")
    assert catalog.fresh
    catalog.heard("newer")
    assert not catalog.fresh
    catalog.fresh = True
    monkeypatch.setattr(module, "STRANGE_SECONDS", -1.0)
    catalog.heard("another")
    catalog.fresh = True
    catalog.heard("another")
    assert not catalog.fresh, "a moment later it may be true"


async def test_an_answer_casts_no_doubt_on_one_that_has_not_told(catalog: Catalog) -> None:
    """It is asked anyway."""
    catalog.complete = False
    catalog.heard("new")
    assert catalog.fresh
