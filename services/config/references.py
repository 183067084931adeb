"""What sections refer to: names in other sections, addresses, secrets.

All of it works on the file as it was read, not on the validated configuration, so that these problems
are told together with those of the sections' own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.config.configuration import DEFAULT_BACKENDS
from services.config.problems import Problem, dotted
from services.config.secrets import SecretUnavailable, resolve
from services.config.sections.network import Services, is_literal, split_address

DEFAULT_SERVICES: Final = Services()


def dangling(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every route to a backend that does not exist and every unused backend."""
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
                hint = f"did you mean {close[0]}?" if close else f"add a table [{dotted('backends', name)}]"
                yield Problem(dotted("routes", capability, position), f"there is no backend {name}", hint)
    for name in backends:
        if name not in used:
            yield Problem(
                dotted("backends", name), "is used by no route", "name it under [routes] or remove it"
            )


def shared_addresses(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every address that two services listen on, or that no socket can be bound to."""
    taken: dict[tuple[str, int], str] = {}
    services = _table(data, "services")
    for service in Services.model_fields:
        table, defaults = _table(services, service), getattr(DEFAULT_SERVICES, service)
        for setting in ("listen", "metrics_listen"):
            address = table.get(setting, getattr(defaults, setting))
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


def missing_secrets(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every secret that is referred to and cannot be had now."""
    headers = _table(_table(data, "telemetry"), "otlp_headers")
    references: dict[tuple[str, ...], Any] = {
        ("telemetry", "otlp_headers", header): reference for header, reference in headers.items()
    }
    if token := _table(data, "hub").get("token"):
        references["hub", "token"] = token
    for path, reference in references.items():
        try:
            resolve(str(reference))
        except SecretUnavailable as error:
            yield Problem(dotted(*path), str(error), "set it before starting")
        except ValueError:
            continue  # no reference: told as a problem of the section itself


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name)
    return table if isinstance(table, dict) else {}
