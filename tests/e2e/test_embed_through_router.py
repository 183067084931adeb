"""The main job: texts through the router into the engine, and embeddings back."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
from inglenook.embed.v1 import EmbedRequest, EmbedServiceStub

from services.cli.cluster import Cluster


async def test_texts_go_through_the_router_and_embeddings_come_back(
    start_cluster: Callable[..., Cluster],
) -> None:
    """A call to the router is answered with one unit vector per input, by the embed service."""
    router = start_cluster().file.configuration.services.router.listen
    async with grpc.aio.insecure_channel(router) as channel:
        call = EmbedServiceStub(channel).Embed(
            EmbedRequest(model="tiny", inputs=["the cat sits", "a dog runs"]), timeout=10
        )
        response = await call
        served_by = dict(await call.trailing_metadata())["inglenook-served-by"]
    vectors = np.array([list(one.values) for one in response.embeddings])
    assert vectors.shape == (2, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert str(served_by).startswith("embed@")
