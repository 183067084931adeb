"""`/status` for people: one page, made here, which asks for itself again and again if scripts may run.

Nothing is loaded from elsewhere, and browsers are told so: scripts and styles are those in the file, by their
hashes. All that is filled in is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Final

from inglenook.common.v1 import ConfigStatus, ModelInfo, ModelState
from inglenook.router.v1 import Backend, BackendState, CacheStatus, CapabilityStatus, GetStatusResponse
from starlette.responses import Response

from services.router.http.amounts import ago, of_bytes, of_capability, of_enum, of_seconds

FILE: Final = Path(__file__).with_name("status.html")
KINDS: Final[Mapping[str, str]] = {
    "available": "good", "healthy": "good", "ready": "good",
    "not routed": "none", "available to load": "none",
    "not known": "warn", "probing": "warn", "loading": "warn", "unloading": "warn",
}  # fmt: skip
"""How words for states look; those that are not here are bad news."""
SHORT_HASH: Final = 12
LOCKED: Final = (
    "<main><header><h1>Inglenook</h1><p>A valid API key is needed.</p></header><section><h2>API key</h2>"
    '<form><input name="key" type="password" autocomplete="off" aria-label="API key" required>'
    "<button>Show</button></form></section></main>"
)


@dataclass(frozen=True, slots=True)
class Page:
    """The file, and what browsers are told of it."""

    template: Template
    policy: str


@dataclass(frozen=True, slots=True)
class State:
    """A cell that says how something is, and why."""

    word: str
    detail: str = ""


@cache
def page() -> Page:
    """Return the page, read from its file once."""
    text = FILE.read_text(encoding="utf-8")
    hashes = {name: _hash(text, name) for name in ("style", "script")}
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {hashes['style']}",
            f"script-src {hashes['script']}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(Template(text), policy)


def shown(status: GetStatusResponse, backends: Iterable[Backend], models: Iterable[ModelInfo]) -> Response:
    """Return the page that shows a cluster."""
    parts = (
        _head(status),
        _capabilities(status.capabilities),
        _backends(backends),
        _models(models),
        f'<div class="two">{_cache(status.cache)}{_config(status.config)}</div>',
    )
    return _response(f"<main>{''.join(parts)}</main>", 200)


def locked() -> Response:
    """Return the page that asks for a key."""
    return _response(LOCKED, 401)


def _response(main: str, status: int) -> Response:
    headers = {
        "content-security-policy": page().policy,
        "cache-control": "no-store",
        "vary": "accept",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return Response(page().template.substitute(main=main), status, headers, "text/html")


def _head(status: GetStatusResponse) -> str:
    told = f"router {status.version}, up for {of_seconds(status.uptime.ToTimedelta().total_seconds())}"
    return f"<header><h1>Inglenook</h1><p>{html.escape(told)}</p></header>"


def _capabilities(capabilities: Iterable[CapabilityStatus]) -> str:
    rows = []
    for one in capabilities:
        word = "available" if one.available else "not available" if one.total_backends else "not routed"
        healthy = f"{one.healthy_backends} of {one.total_backends}"
        name = of_capability(one.capability)
        rows.append((name, State(word), healthy, str(one.calls_in_flight), one.strategy))
    return _table("Services", ("service", "state", "backends healthy", "calls in flight", "strategy"), rows)


def _backends(backends: Iterable[Backend]) -> str:
    heads = (
        "backend",
        "service",
        "endpoint",
        "state",
        "since",
        "tier",
        "load",
        "latency",
        "in flight",
        "ejected",
    )
    rows = [
        (
            one.name,
            of_capability(one.capability),
            one.endpoint,
            State(of_enum(BackendState.Name(one.state), "BACKEND_STATE_"), one.state_detail),
            ago(one.state_since),
            str(one.tier),
            f"{one.load:.0%}" if one.HasField("load") else "",
            of_seconds(one.median_time.ToTimedelta().total_seconds()) if one.HasField("median_time") else "",
            str(one.calls_in_flight),
            str(one.ejections or ""),
        )
        for one in backends
    ]
    return _table("Backends", heads, rows)


def _models(models: Iterable[ModelInfo]) -> str:
    rows = [
        (
            one.name,
            of_capability(one.capability),
            State(_model_state(one), one.state_detail),
            ", ".join(one.targets) or one.source,
            str(one.max_input_tokens or ""),
            str(one.dimensions) if one.HasField("dimensions") else "",
            of_bytes(one.memory_bytes) if one.memory_bytes else "",
        )
        for one in models
    ]
    heads = ("model", "service", "state", "comes from", "input tokens", "dimensions", "memory")
    return _table("Models", heads, rows)


def _model_state(info: ModelInfo) -> str:
    """Return a model's state; a model that could be loaded is not what `available` means elsewhere here."""
    word = of_enum(ModelState.Name(info.state), "MODEL_STATE_")
    return "available to load" if word == "available" else word


def _cache(kept: CacheStatus) -> str:
    found = kept.memory_hits + kept.redis_hits
    asked = found + kept.misses
    remote = kept.url.partition(":")[0] not in {"memory", "off", ""}
    rows: list[Sequence[str | State]] = [
        ("kept", kept.url or "off"),
        ("answers", str(kept.memory_entries)),
        ("memory", f"{of_bytes(kept.memory_bytes)} of {of_bytes(kept.max_memory_bytes)}"),
        ("found", f"{found} of {asked}" + (f", {found / asked:.0%}" if asked else "")),
    ]
    if remote:
        rows.append(("Redis", State("available" if kept.redis_available else "not available")))
        rows.append(("Redis failed", str(kept.redis_errors)))
    return _table("Cache", (), rows)


def _config(config: ConfigStatus) -> str:
    rows: list[Sequence[str | State]] = [
        ("file", config.path),
        ("SHA-256", config.sha256[:SHORT_HASH]),
        ("read", ago(config.loaded_at)),
    ]
    if config.last_error:
        rows.append(("last reload", State("failed", config.last_error)))
    if config.restart_needed:
        rows.append(("needs a restart", ", ".join(config.restart_needed)))
    return _table("Configuration", (), rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str | State]]) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="none">none</p></section>'
    head = "".join(f'<th scope="col">{html.escape(one)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    thead = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f"<section><h2>{title}</h2><table>{thead}<tbody>{body}</tbody></table></section>"


def _cell(value: str | State) -> str:
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    kind = KINDS.get(value.word, "bad")
    detail = f"<small>{html.escape(value.detail)}</small>" if value.detail else ""
    return f'<td><span class="{kind}">{html.escape(value.word)}</span>{detail}</td>'


def _hash(text: str, element: str) -> str:
    """Return what a policy calls the content of the only element of a kind."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
