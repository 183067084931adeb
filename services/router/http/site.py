"""All paths, and what holds for each response."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.local import LocalCalls
from services.config import Limits
from services.router.http.chat import chat_completions
from services.router.http.cluster import get_model, health, list_models, status
from services.router.http.embeddings import embeddings
from services.router.http.endpoint import PLACE, Answer, Check, Endpoint, failed
from services.router.http.failures import simple_failure
from services.router.http.metrics import LEFT, HttpMetrics, metrics_of
from services.router.http.openapi import openapi
from services.router.http.pairs import classify, nli
from services.router.http.rerank import rerank, rerank_v2

PATHS: Final[Sequence[tuple[str, str, Answer]]] = (
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/embeddings", embeddings),
    ("POST", "/v1/rerank", rerank),
    ("POST", "/v2/rerank", rerank_v2),
    ("POST", "/v1/nli", nli),
    ("POST", "/v1/classify", classify),
    ("GET", "/v1/models", list_models),
    ("GET", "/v1/models/{model:path}", get_model),
    ("GET", "/health", health),
    ("GET", "/status", status),
    ("GET", "/openapi.json", openapi),
)
METRICS: Final = "/metrics"
REQUEST_ID: Final = "x-request-id"
GOOD_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def build_site(
    calls: LocalCalls,
    limits: Limits,
    registry: CollectorRegistry,
    counted: HttpMetrics,
    check: Check = lambda _: None,
) -> ASGIApp:
    """Return the ASGI application that answers with `calls`.

    Args:
        calls: Makes calls of the router's methods.
        limits: How much is accepted.
        registry: What `/metrics` shows.
        counted: Counts requests.
        check: Refuses callers before their requests are read. Default: nobody.
    """
    paths = (*PATHS, ("GET", METRICS, metrics_of(registry)))
    routes = [
        Route(path, Endpoint(path, answer, calls, limits, check), methods=[method])
        for method, path, answer in paths
    ]
    site = Starlette(routes=routes, exception_handlers={HTTPException: _not_a_route})
    site.router.redirect_slashes = False
    return Noted(site, counted)


class Noted:
    """Gives every response the id of its request, the caller's own if it is a plain one, and counts it."""

    def __init__(self, inner: ASGIApp, counted: HttpMetrics) -> None:
        self._inner = inner
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        given = Request(scope).headers.get(REQUEST_ID, "")
        identity = given if GOOD_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        header = (REQUEST_ID.encode(), identity.encode())
        told: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                told = message["status"]
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            await self._inner(scope, receive, send_with_id)
        finally:
            self._counted.count(scope.get(PLACE), told or LEFT)


async def _not_a_route(request: Request, error: Any) -> Response:
    """Tell of a path or a method that does not exist."""
    del request
    code = HTTPStatus(error.status_code)
    failure = simple_failure(code.value, code.phrase.lower().replace(" ", "_"), f"{code.phrase.lower()} here")
    return failed(failure, error.headers)
