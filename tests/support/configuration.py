"""Configuration files for tests, on ports that are free."""

from __future__ import annotations

import socket
from pathlib import Path

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


def free_addresses(count: int) -> list[str]:
    """Return addresses on loopback that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    finally:
        for one in sockets:
            one.close()


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
