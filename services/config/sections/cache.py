"""`[cache]`: answers that are kept, so that the same question is not computed twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from services.config.secrets import SecretReference
from services.config.sections.base import FilePath, Seconds, Section
from services.config.sections.network import split_address

MEMORY: Final = "memory:"
OFF: Final = "off"

Kind = Literal["server", "socket", "sentinel", "cluster"]

KINDS: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("socket", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""Which kind of Redis a scheme means, and whether it speaks TLS."""

PORTS: Final[dict[Kind, int]] = {"server": 6379, "sentinel": 26379, "cluster": 6379, "socket": 0}
DATABASE: Final = re.compile(r"[0-9]{1,5}")
SERVICE: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where a Redis is, as a URL says it.

    Attributes:
        kind: What it is.
        tls: Whether it speaks TLS.
        nodes: Hosts and ports: of the server, of the sentinels, or of some nodes of the cluster.
        path: The socket's path.
        service: The name by which sentinels know it.
        database: Number of the database.
    """

    kind: Kind
    tls: bool = False
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0


def place_of(url: str) -> RedisPlace | None:
    """Return where the Redis of a URL is, or None if it means none.

    Raises:
        ValueError: It means nothing.
    """
    if url in {MEMORY, OFF}:
        return None
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in KINDS:
        message = f'must be "memory:", "off", or begin with one of {"://, ".join(KINDS)}://'
        raise ValueError(message)
    kind, tls = KINDS[scheme]
    if kind == "socket":
        if not rest.startswith("/"):
            message = "must name the socket by its whole path: unix:///run/redis.sock"
            raise ValueError(message)
        return RedisPlace(kind, path=rest)
    if "@" in rest:
        message = "must not hold a user or a password; `username` and `password` say them"
        raise ValueError(message)
    if "?" in rest or "#" in rest:
        message = "must end with the path; other settings of [cache] say the rest"
        raise ValueError(message)
    hosts, _, path = rest.partition("/")
    nodes = tuple(_node(host, PORTS[kind]) for host in hosts.split(","))
    return _with_path(RedisPlace(kind, tls, nodes), path)


def _node(host: str, default_port: int) -> tuple[str, int]:
    bare = host and (host.endswith("]") or ":" not in host)
    return split_address(f"{host}:{default_port}" if bare else host)


def _with_path(place: RedisPlace, path: str) -> RedisPlace:
    """Return a place with what the path of its URL says: the service of sentinels, the database."""
    service = ""
    if place.kind == "sentinel":
        service, _, path = path.partition("/")
        if not SERVICE.fullmatch(service):
            message = "must name the service that the sentinels know: redis+sentinel://host:26379/service/0"
            raise ValueError(message)
    elif place.kind == "server" and len(place.nodes) > 1:
        message = "must name one server; for several there are redis+sentinel:// and redis+cluster://"
        raise ValueError(message)
    if path and (place.kind == "cluster" or not DATABASE.fullmatch(path)):
        message = "must end with the number of a database, and that of a cluster without one"
        raise ValueError(message)
    return RedisPlace(place.kind, place.tls, place.nodes, service=service, database=int(path or 0))


def check_url(url: str) -> str:
    """Return `url` if the router could keep answers there; passwords do not belong into it."""
    place_of(url)
    return url


class Cache(Section):
    """Which answers the router keeps, where, and for how long.

    Embeddings are kept per text, scores and inferences per pair, and answers of chat models only where a call
    asks for it. What is kept depends on everything that decides an answer: a model that has changed in any
    way finds nothing of what it used to answer.
    """

    url: Annotated[str, AfterValidator(check_url), WithJsonSchema({"type": "string"})] = MEMORY
    """`memory:` keeps answers in the router's memory only, `off` keeps none. `redis://host:6379/0` keeps them
    in Redis too, for all routers; so do `rediss://` (TLS), `unix:///path`,
    `redis+sentinel://host:26379,host:26379/service/0` and `redis+cluster://host:6379,host:6379`."""
    username: str | None = None
    """User of Redis. Default: none."""
    password: SecretReference | None = None
    """Password of Redis, `env:NAME` or `file:/path`. Default: none."""
    ca: FilePath | None = None
    """Certificates of the authorities that Redis is trusted by, PEM. Needs a URL that says `rediss`.
    Default: those that this machine trusts."""
    memory_bytes: Annotated[int, Field(ge=0, le=64 * 1024**3)] = 256 * 1024**2
    """How much the router keeps in its own memory, in bytes. What was not used for longest goes first."""
    memory_seconds: Annotated[Seconds, Field(gt=0)] = 3600.0
    """How long an answer stays in the router's own memory; one that was purged through another router is
    gone after that at the latest."""
    ttl_seconds: Annotated[float, Field(ge=0.001, le=31_536_000, allow_inf_nan=False)] = 86_400.0
    """How long an answer stays in Redis."""
    timeout_seconds: Annotated[Seconds, Field(gt=0, le=5)] = 0.1
    """How long Redis may take to answer before the call goes on without it."""
    failure_threshold: Annotated[int, Field(ge=1)] = 3
    """After so many failures in a row Redis is left alone, and tried again every `probe_seconds`."""
    probe_seconds: Annotated[Seconds, Field(gt=0)] = 1.0
    """How often Redis is tried while it is left alone."""

    @property
    def place(self) -> RedisPlace | None:
        """Where Redis is; None without one."""
        return place_of(self.url)

    @model_validator(mode="after")
    def check_fit(self) -> Cache:
        """Refuse settings of a connection that there is none of."""
        place = self.place
        if place is None and (self.username or self.password or self.ca):
            message = "username, password and ca are for Redis, which `url` does not name"
            raise ValueError(message)
        if self.ca and place is not None and not place.tls:
            message = "ca needs a url that says rediss"
            raise ValueError(message)
        if self.username and not self.password:
            message = "username needs password"
            raise ValueError(message)
        return self
