"""Services that other machines could reach without TLS and without keys: refused unless the file says so.

What is asked of a cluster and what it answers is worth protecting, and chat may cost money. A file that was
written for one machine and then copied to a server would otherwise open all of it, and nobody would notice.
Metrics are left out: they hold no user text, and Prometheus reads them from elsewhere as a rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.config.configuration import Configuration
from services.config.problems import Problem
from services.config.sections.network import Services, is_literal, is_loopback, split_address

DEFAULTS: Final = Services()
ROUTER: Final = "router"
OPEN: Final = "can be reached from other machines without TLS"
NO_KEYS: Final = " and without keys"


def exposed(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for every address of the file, as it was read, that is open to other machines."""
    access = data.get("access")
    access = access if isinstance(access, dict) else {}
    if access.get("allow_unprotected") is True:
        return
    services = data.get("services")
    for name, table in services.items() if isinstance(services, dict) else ():
        if name not in Services.model_fields or not isinstance(table, dict) or table.get("tls") is not None:
            continue
        if name == ROUTER and access.get("keys") and access.get("required") is not False:
            continue
        for setting in ("listen", "http_listen"):
            if _is_open(table.get(setting, getattr(getattr(DEFAULTS, name), setting, None))):
                yield _problem(f"services.{name}.{setting}", name)


def exposure(configuration: Configuration, name: str, address: str) -> Problem | None:
    """Return what is wrong with the service `name` listening at `address`, and for HTTP as it is configured.

    None if nothing is. For addresses that do not come from the file; the problem has no path. A name counts
    as open: it may stand for any address.
    """
    access, service = configuration.access, getattr(configuration.services, name)
    keys = name == ROUTER and access.keys and access.required is not False
    if access.allow_unprotected or service.tls is not None or keys:
        return None
    if not is_loopback(split_address(address)[0]) or _is_open(getattr(service, "http_listen", None)):
        return _problem("", name)
    return None


def _problem(path: str, name: str) -> Problem:
    router = name == ROUTER
    hint = "keys under [access.keys], " if router else ""
    return Problem(
        path,
        OPEN + (NO_KEYS if router else ""),
        f"add [services.{name}.tls], {hint}or allow_unprotected under [access] if the network protects it",
    )


def _is_open(address: Any) -> bool:
    if not isinstance(address, str):
        return False
    try:
        host, _ = split_address(address)
    except ValueError:
        return False  # told as a problem of the section itself, or "off"
    return is_literal(host) and not is_loopback(host)
