"""Names in one section that must exist in another."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from services.config.configuration import DEFAULT_BACKENDS
from services.config.problems import Problem
from services.config.sections.network import is_literal, split_address


def dangling(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every route to a backend that does not exist and every unused backend.

    Works on the file as it was read, not on the validated configuration, so that these problems are
    told together with those of the sections' own.
    """
    backends = _table(data, "backends")
    routes = _table(data, "routes")
    known = {*backends, *DEFAULT_BACKENDS}
    used: set[str] = set()
    for capability, names in routes.items():
        for position, name in enumerate(names if isinstance(names, list) else []):
            if not isinstance(name, str):
                continue
            used.add(name)
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"add a table [backends.{name}]"
                yield Problem(f"routes.{capability}.{position}", f"there is no backend {name}", hint)
    for name in backends:
        if name not in used:
            yield Problem(f"backends.{name}", "is used by no route", "name it under [routes] or remove it")


def shared_addresses(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every address that two services listen on, or that no socket can be bound to."""
    taken: dict[tuple[str, int], str] = {}
    for service, table in _table(data, "services").items():
        for setting in ("listen", "metrics_listen"):
            address = table.get(setting) if isinstance(table, dict) else None
            if not isinstance(address, str):
                continue
            path = f"services.{service}.{setting}"
            try:
                host, port = split_address(address)
            except ValueError:
                continue  # told as a problem of the section itself
            if not is_literal(host):
                yield Problem(path, "must have an IP address or localhost as its host", "0.0.0.0 means all")
            if port and (other := taken.setdefault((host, port), path)) != path:
                yield Problem(path, f"is the same address as {other}", "give each its own port")


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name)
    return table if isinstance(table, dict) else {}
