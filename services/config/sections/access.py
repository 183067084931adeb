"""`[access]`: who may call the router, for what, and how often."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from services.config.sections.base import LENIENT, Name, Refused, Section

Permission = Literal["chat", "embed", "rerank", "nli", "operate"]
"""What a key may be used for: a capability, or `operate` for what changes the cluster (`Reload`,
`PurgeCache`, `LoadModel`, `UnloadModel`)."""


HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


def _check_hash(text: str) -> str:
    if not HASH.fullmatch(text):
        message = "is not the hash of a key: sha256: and 64 digits from 0 to f"
        raise Refused(message, "`inglenook keys new` prints it; the key itself does not belong here")
    return text


class Key(Section):
    """One API key. Its name is what logs and metrics call it."""

    hash: Annotated[str, AfterValidator(_check_hash), WithJsonSchema({"type": "string"})]
    """SHA-256 of the key, as `inglenook keys new` prints it. The key itself is written nowhere."""
    allow: Annotated[tuple[Permission, ...], LENIENT] = ("chat", "embed", "rerank", "nli")
    """What it may be used for: capabilities, and `operate` for what changes the cluster."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Most calls per minute, with each router counting its own. Default: any number."""
    burst: Annotated[int, Field(ge=1)] | None = None
    """Most calls at once after a pause. Default: what `requests_per_minute` allows in ten seconds, at least
    one."""
    max_concurrent_calls: Annotated[int, Field(ge=1)] | None = None
    """Most calls that are in the router at a time. Default: any number."""


class Access(Section):
    """Who may call. It holds for gRPC and HTTP alike."""

    keys: dict[Name, Key] = {}
    """The keys that callers may show, by name. `inglenook keys new` makes one: docs/security.md."""
    required: bool | None = None
    """Refuse calls without a key. Default: whenever there are keys and the router listens on an address that
    other machines can reach. A key that comes with a call is checked in any case, if there are keys."""
    allow_unprotected: bool = False
    """Start even if a service listens on an address that other machines can reach, without keys and without
    TLS. For networks that protect it by other means."""

    @model_validator(mode="after")
    def check_keys(self) -> Access:
        """Refuse two names for one key, and a cluster that nobody could call."""
        if len({key.hash for key in self.keys.values()}) != len(self.keys):
            message = "has the same key under two names"
            raise Refused(message, "`inglenook keys new` makes another one")
        if self.required and not self.keys:
            message = "requires keys and has none, so that nobody could call"
            raise Refused(message, "`inglenook keys new` prints a table [access.keys.<name>]")
        return self
