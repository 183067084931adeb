"""The repository's own configuration, with its real models, on ports that are free."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.config import ConfigurationFile, load
from tests.support.configuration import free_addresses

SAMPLE: Final = Path(__file__).resolve().parents[2] / "inglenook.toml"
SERVICES: Final = ("embed", "rerank", "nli", "chat")

ADDITION: Final = """
[engine]
calibrate = false

[shutdown]
drain_seconds = 0.5

[services.router]
listen = "{router}"
metrics_listen = "{metrics}"
http_listen = "off"
reflection = {reflection}
"""
SERVICE: Final = """
[backends.{name}]
endpoints = ["{listen}"]

[services.{name}]
listen = "{listen}"
metrics_listen = "{metrics}"
"""


def write_sample_configuration(folder: Path, *, reflection: bool = True) -> ConfigurationFile:
    """Write and load what `inglenook.toml` says, with other addresses and without calibration.

    `reflection` is the router's.
    """
    addresses = iter(free_addresses(2 + 2 * len(SERVICES)))
    text = SAMPLE.read_text(encoding="utf-8").replace('"dir:', f'"dir:{SAMPLE.parent}/')
    text += ADDITION.format(
        router=next(addresses), metrics=next(addresses), reflection=str(reflection).lower()
    )
    for name in SERVICES:
        text += SERVICE.format(name=name, listen=next(addresses), metrics=next(addresses))
    path = folder / SAMPLE.name
    path.write_text(text, encoding="utf-8")
    return load(path)
