"""What is counted of HTTP itself, and `/metrics`.

Calls are counted where they pass, over gRPC and HTTP alike; a request that is refused before it becomes a
call is counted here only.
"""

from __future__ import annotations

import asyncio
from typing import Final

from inglenook.router.v1 import GetStatusRequest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from services.router.http.endpoint import Answer
from services.router.http.exchange import Exchange

OTHER: Final = "other"
"""Path of requests for what is not there: callers choose such paths, and metrics must not grow with them."""
LEFT: Final = 499
"""Status of a request whose caller left before there was one, as nginx counts it."""
MALFORMED: Final = 400
GET_STATUS: Final = "/inglenook.router.v1.RouterService/GetStatus"


class HttpMetrics:
    """Counts HTTP requests into `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "inglenook_http_requests_total",
            "HTTP requests by path and status of the response; 499 where the caller left before it began.",
            ("path", "status"),
            registry=registry,
        )

    def count(self, path: str | None, status: int) -> None:
        """Count a request; `path` is one that is served, or None."""
        self._answered.labels(path or OTHER, str(status)).inc()


def metrics_of(registry: CollectorRegistry) -> Answer:
    """Return what answers `/metrics` with all metrics of the process."""

    async def metrics(exchange: Exchange) -> Response:
        # A call that any key may make, so that whoever may make none does not see these either.
        await exchange.call(GET_STATUS, GetStatusRequest())
        encode, kind = choose_encoder(exchange.request.headers.get("accept", ""))
        content = await asyncio.to_thread(encode, registry)
        return Response(content, headers={"content-type": kind})

    return metrics
