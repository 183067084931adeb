"""Configuration files for tests, on ports that are free."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services.config import ConfigurationFile, load

TEMPLATE = """
[models.tiny]
capability = "embed"
source = "dir:{model}"

[routes]
embed = ["embed"]

[backends.embed]
endpoints = [{endpoints}]

[services.router]
listen = "{router}"
metrics_listen = "{router_metrics}"
http_listen = "off"

[services.embed]
listen = "{embed}"
metrics_listen = "{embed_metrics}"

[engine]
threads = 2
calibrate = false

[shutdown]
drain_seconds = 0.5
grace_seconds = 5.0
flush_seconds = 0.5
"""

SERVICE = """
[services.{service}]
listen = "{listen}"
metrics_listen = "{metrics}"
"""

BACKEND = """
[backends.{service}]
endpoints = [{endpoints}]
"""

SETTINGS = """
[engine]
calibrate = false
{engine}

[shutdown]
drain_seconds = 0.5
grace_seconds = 5.0
flush_seconds = 0.5
"""

STANDARD_PORTS: Final = range(50051, 50056)
"""Where services listen unless they are told otherwise; the system may hand them out like any other port."""


def free_addresses(count: int) -> list[str]:
    """Return addresses on loopback that nobody listens on, all different.

    None of them is the default of a service, which a configuration may mean without saying so.
    """
    sockets = [socket.socket() for _ in range(count + len(STANDARD_PORTS))]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
    return [f"127.0.0.1:{port}" for port in ports if port not in STANDARD_PORTS][:count]


def write_configuration(folder: Path, model: Path, *, replicas: int = 1, more: str = "") -> ConfigurationFile:
    """Write and load a configuration with one embedding model, `tiny`, and `replicas` embed services.

    `more` is TOML that is put at the end.
    """
    router, router_metrics, embed_metrics, *embed = free_addresses(3 + replicas)
    path = folder / "inglenook.toml"
    text = TEMPLATE.format(
        model=model,
        endpoints=", ".join(f'"{address}"' for address in embed),
        router=router,
        router_metrics=router_metrics,
        embed=embed[0],
        embed_metrics=embed_metrics,
    )
    path.write_text(text + more, encoding="utf-8")
    return load(path)


def describe_model(capability: str, name: str, folder: Path, more: str = "") -> str:
    """Return the TOML of a model in `folder`; `more` belongs to its section."""
    return f'[models."{name}"]\ncapability = "{capability}"\nsource = "dir:{folder}"\n{more}\n'


def write_cluster(
    folder: Path,
    models: str,
    services: Mapping[str, int],
    *,
    engine: str = "threads = 1",
    more: str = "",
    http: str = "off",
    route: str = "",
) -> ConfigurationFile:
    """Write and load a configuration with any models, and engine services that run them.

    Args:
        folder: Where to.
        models: Sections of the models, see `describe_model`.
        services: How many replicas each engine service has; only the first has metrics.
        engine: TOML that belongs to `[engine]`.
        more: TOML that is put at the end.
        http: Where the router listens for HTTP.
        route: TOML that belongs to every route.
    """
    router, router_metrics, *addresses = free_addresses(2 + len(services) + sum(services.values()))
    routes = "\n".join(f'[routes.{service}]\nbackends = ["{service}"]\n{route}' for service in services)
    parts = [
        models,
        f"{routes}\n",
        SERVICE.format(service="router", listen=router, metrics=router_metrics) + f'http_listen = "{http}"\n',
    ]
    for service, replicas in services.items():
        metrics, listen = addresses.pop(), [addresses.pop() for _ in range(replicas)]
        endpoints = ", ".join(f'"{address}"' for address in listen)
        parts.append(SERVICE.format(service=service, listen=listen[0], metrics=metrics))
        parts.append(BACKEND.format(service=service, endpoints=endpoints))
    path = folder / "inglenook.toml"
    path.write_text("".join([*parts, SETTINGS.format(engine=engine), more]), encoding="utf-8")
    return load(path)
