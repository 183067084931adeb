"""What sections refer to: names in other sections, addresses, secrets.

All of it works on the file as it was read, not on the validated configuration, so that these problems
are told together with those of the sections' own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.config.configuration import DEFAULT_BACKENDS, DEFAULT_PROVIDERS
from services.config.problems import Problem, dotted
from services.config.secrets import SecretUnavailable, resolve
from services.config.sections.models import TARGET, split_target
from services.config.sections.network import Services, is_literal, split_address

DEFAULT_SERVICES: Final = Services()


def dangling(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every route to a backend that does not exist and every unused backend."""
    backends = _table(data, "backends")
    routes = _table(data, "routes")
    known = {*backends, *DEFAULT_BACKENDS}
    used: set[str] = set()
    for capability, route in routes.items():
        table = isinstance(route, dict)
        names = route.get("backends") if table else route
        place = ("routes", capability, "backends") if table else ("routes", capability)
        for position, name in enumerate(names if isinstance(names, list) else []):
            if not isinstance(name, str):
                continue
            used.add(name)
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"add a table [{dotted('backends', name)}]"
                yield Problem(dotted(*place, position), f"there is no backend {name}", hint)
    for name in backends:
        if name not in used:
            yield Problem(
                dotted("backends", name), "is used by no route", "name it under [routes] or remove it"
            )


def unknown_providers(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every target whose provider does not exist."""
    known = {*_table(data, "providers"), *DEFAULT_PROVIDERS}
    places: list[tuple[tuple[int | str, ...], Any]] = [
        (("targets", target), target) for target in _table(data, "targets")
    ]
    for name, model in _table(data, "models").items():
        targets = model.get("targets") if isinstance(model, dict) else None
        for position, target in enumerate(targets if isinstance(targets, list) else []):
            places.append((("models", name, "targets", position), target))
    for path, target in places:
        if not isinstance(target, str) or not TARGET.fullmatch(target):
            continue  # told as a problem of the section itself
        provider, _ = split_target(target)
        if provider not in known:
            close = difflib.get_close_matches(provider, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"add a table [{dotted('providers', provider)}]"
            yield Problem(dotted(*path), f"there is no provider {provider}", hint)


def shared_addresses(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every address that two services listen on, or that no socket can be bound to."""
    taken: dict[tuple[str, int], str] = {}
    services = _table(data, "services")
    for service in Services.model_fields:
        table, defaults = _table(services, service), getattr(DEFAULT_SERVICES, service)
        for setting in ("listen", "metrics_listen", "http_listen"):
            address = table.get(setting, getattr(defaults, setting, None))
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


def missing_keys(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every key of a provider that may be called and whose key cannot be had now."""
    paid = _table(data, "paid").get("enabled") is True
    for name, provider in _table(data, "providers").items():
        if not isinstance(provider, dict) or not isinstance(reference := provider.get("api_key"), str):
            continue
        default = "local" if provider.get("type") == "ollama" else "paid"
        if paid or provider.get("tier", default) == "local":
            yield from _unavailable(("providers", name, "api_key"), reference)


def missing_secrets(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every secret that every service needs and that cannot be had now."""
    headers = _table(_table(data, "telemetry"), "otlp_headers")
    references: dict[tuple[str, ...], Any] = {
        ("telemetry", "otlp_headers", header): reference for header, reference in headers.items()
    }
    if token := _table(data, "hub").get("token"):
        references["hub", "token"] = token
    for path, reference in references.items():
        yield from _unavailable(path, str(reference))


def _unavailable(path: tuple[str, ...], reference: str) -> Iterator[Problem]:
    try:
        resolve(reference)
    except SecretUnavailable as error:
        yield Problem(dotted(*path), str(error), "set it before starting")
    except ValueError:
        return  # no reference: told as a problem of the section itself


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name)
    return table if isinstance(table, dict) else {}
