"""The repository's own configuration, with its real model, on ports that are free."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.config import ConfigurationFile, load
from tests.support.configuration import free_addresses

SAMPLE: Final = Path(__file__).resolve().parents[2] / "inglenook.toml"

ADDITION: Final = """
[backends.embed]
endpoints = ["{embed}"]

[services.router]
listen = "{router}"
reflection = {reflection}
metrics_listen = "{router_metrics}"

[services.embed]
listen = "{embed}"
metrics_listen = "{embed_metrics}"

[engine]
calibrate = false

[shutdown]
drain_seconds = 0.5
"""


def write_sample_configuration(folder: Path, *, reflection: bool = True) -> ConfigurationFile:
    """Write and load what `inglenook.toml` says, with other addresses and without calibration.

    `reflection` is the router's.
    """
    embed, embed_metrics, router, router_metrics = free_addresses(4)
    path = folder / SAMPLE.name
    addition = ADDITION.format(
        embed=embed,
        embed_metrics=embed_metrics,
        router=router,
        router_metrics=router_metrics,
        reflection=str(reflection).lower(),
    )
    path.write_text(SAMPLE.read_text(encoding="utf-8") + addition, encoding="utf-8")
    return load(path)
