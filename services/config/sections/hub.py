"""`[hub]`: how models are fetched from the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.config.secrets import SecretReference
from services.config.sections.base import Seconds, Section


class Hub(Section):
    """How models are fetched from the Hugging Face Hub, or from a mirror of it.

    What is not set here is as the hub's own tools have it: the environment variables `HF_HOME`,
    `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` do what they do there, and files that these
    tools have downloaded are used as they are.
    """

    endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Address of a mirror, for example `https://hub.example.org`. Default: what `HF_ENDPOINT` says, else the
    Hub itself."""
    token: SecretReference | None = None
    """Token for gated and private models. Default: the one that the hub's own tools are logged in with, if
    any."""
    offline: bool = False
    """Never ask the hub; use what was downloaded before. `HF_HUB_OFFLINE=1` means the same."""
    timeout_seconds: Annotated[Seconds, Field(gt=0)] = 30.0
    """How long the hub may be silent before a download is given up; what has arrived is kept."""
