"""Redis: one server, the one that sentinels name, or a cluster. Nothing else here imports its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from services.config import Secret
from services.config.sections.cache import Cache as CacheSection
from services.config.sections.cache import RedisPlace
from services.router.cache.metrics import Failure

CLIENT_NAME: Final = "inglenook-router"
MAX_CONNECTIONS: Final = 64
"""Calls that find all of them busy go on without Redis."""
SENTINEL_OPTIONS: Final = (
    "socket_timeout",
    "socket_connect_timeout",
    "retry",
    "maint_notifications_config",
    "ssl",
    "ssl_ca_certs",
)
"""What connections to sentinels share with those to the server; they are not asked for a password."""
SCAN_COUNT: Final = 512
"""How many keys a purge looks at in one step; Redis serves nobody else meanwhile."""

KINDS: Final[Sequence[tuple[type[Exception], Failure]]] = (
    (exceptions.MaxConnectionsError, Failure.BUSY),
    (exceptions.AuthenticationError, Failure.AUTHENTICATION),
    (exceptions.AuthorizationError, Failure.AUTHENTICATION),
    (exceptions.NoPermissionError, Failure.AUTHENTICATION),
    (exceptions.BusyLoadingError, Failure.LOADING),
    (exceptions.OutOfMemoryError, Failure.FULL),
    (exceptions.ReadOnlyError, Failure.READ_ONLY),
    (exceptions.InvalidResponse, Failure.PROTOCOL),
    (exceptions.ClusterError, Failure.CLUSTER),
    (exceptions.RedisClusterException, Failure.CLUSTER),
    (exceptions.TimeoutError, Failure.TIMEOUT),
    (TimeoutError, Failure.TIMEOUT),
    (exceptions.ConnectionError, Failure.CONNECTION),
    (OSError, Failure.CONNECTION),
    (exceptions.ResponseError, Failure.REFUSED),
)
"""The first that fits says what kind of failure an error is. What a server says in words is not repeated."""


def kind_of(error: Exception) -> Failure:
    """Return the kind of failure that an error is."""
    return next((kind for types, kind in KINDS if isinstance(error, types)), Failure.PROTOCOL)


class Client(Protocol):
    """What the cache asks of Redis. Everything may raise anything, and takes as long as it likes."""

    async def prepare(self, *, anew: bool) -> None:
        """Learn where things are; `anew`, as they may have changed, and while nothing else is asked."""

    async def read(self, keys: Sequence[bytes]) -> list[Any]:
        """Return the values of keys, None for those that there are none of."""

    async def write(self, entries: Sequence[tuple[bytes, bytes]]) -> list[Failure]:
        """Set values, and return the kinds of failure of those that were refused."""

    async def delete(self, keys: Sequence[bytes]) -> list[bool]:
        """Forget keys, and say which of them there were."""

    async def step(self, pattern: bytes, node: Any, cursor: int) -> tuple[int, list[bytes]]:
        """Go one step in a scan of one of the `parts`, from cursor 0 until it is 0 again.

        Return the next cursor, and keys that fit the pattern, perhaps some twice.
        """

    def parts(self) -> Sequence[Any]:
        """Return what has to be scanned one after the other."""

    async def close(self) -> None:
        """End its connections."""


def connect(section: CacheSection, place: RedisPlace, password: Secret | None) -> Client:
    """Return a client, which connects when it is first asked for something."""
    options: dict[str, Any] = {
        "username": section.username,
        "password": password.reveal() if password is not None else None,
        "client_name": CLIENT_NAME,
        "protocol": 3,
        "socket_timeout": section.timeout_seconds,
        "socket_connect_timeout": section.timeout_seconds,
        "health_check_interval": 0,
        "max_connections": MAX_CONNECTIONS,
        # Of redis's own retries, the first would take longer than computing most answers.
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if place.tls:
        options |= {"ssl": True, "ssl_ca_certs": str(section.ca) if section.ca else None}
    match place.kind:
        case "cluster":
            return _Cluster(place, options, section.ttl_seconds)
        case "sentinel":
            return _Watched(place, options, section.ttl_seconds)
        case "socket":
            return _Server(Redis(unix_socket_path=place.path, **options), section.ttl_seconds)
        case _:
            ((host, port),) = place.nodes
            return _Server(Redis(host=host, port=port, db=place.database, **options), section.ttl_seconds)


class _Server:
    """One server, at an address or behind sentinels."""

    def __init__(self, redis: Any, ttl_seconds: float) -> None:
        self._redis = redis  # of a type that does not say what is awaited
        self._ttl_milliseconds = max(1, round(ttl_seconds * 1000))

    async def prepare(self, *, anew: bool) -> None:
        """Nothing: each connection asks anew where the server is."""

    async def read(self, keys: Sequence[bytes]) -> list[Any]:
        return _one_for_each(keys, await self._redis.mget(keys))

    async def write(self, entries: Sequence[tuple[bytes, bytes]]) -> list[Failure]:
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in entries:
            pipeline.set(key, value, px=self._ttl_milliseconds)
        return _refusals(await pipeline.execute(raise_on_error=False))

    async def delete(self, keys: Sequence[bytes]) -> list[bool]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.execute_command("UNLINK", key)  # a cluster's pipeline has no unlink
        return [bool(deleted) for deleted in await pipeline.execute()]

    async def step(self, pattern: bytes, node: Any, cursor: int) -> tuple[int, list[bytes]]:
        """Return the next cursor of a scan, 0 at the end, and some keys."""
        del node
        following, keys = await self._redis.scan(cursor, match=pattern, count=SCAN_COUNT)
        return int(following), keys

    def parts(self) -> Sequence[Any]:
        """Return what has to be scanned one after the other."""
        return (None,)

    async def close(self) -> None:
        await self._redis.aclose()


class _Watched(_Server):
    """The server that sentinels name."""

    def __init__(self, place: RedisPlace, options: Mapping[str, Any], ttl_seconds: float) -> None:
        own = {name: options[name] for name in SENTINEL_OPTIONS if name in options}
        sentinel: Any = Sentinel  # has no types
        self._sentinel = sentinel(place.nodes, sentinel_kwargs={**own, "protocol": 2})
        redis = self._sentinel.master_for(place.service, db=place.database, **options)
        super().__init__(redis, ttl_seconds)

    async def close(self) -> None:
        await super().close()
        await self._sentinel.aclose()


class _Cluster(_Server):
    """All nodes of a cluster."""

    def __init__(self, place: RedisPlace, options: Mapping[str, Any], ttl_seconds: float) -> None:
        nodes = [ClusterNode(host, port) for host, port in place.nodes]
        super().__init__(RedisCluster(startup_nodes=nodes, **options), ttl_seconds)

    async def prepare(self, *, anew: bool) -> None:
        if anew:
            await self._redis.aclose()  # forgets which node has what
        await self._redis.initialize()

    async def read(self, keys: Sequence[bytes]) -> list[Any]:
        return _one_for_each(keys, await self._redis.mget_nonatomic(keys))

    async def step(self, pattern: bytes, node: Any, cursor: int) -> tuple[int, list[bytes]]:
        following, keys = await self._redis.scan(cursor, match=pattern, count=SCAN_COUNT, target_nodes=[node])
        return int(following[node.name]), keys

    def parts(self) -> Sequence[Any]:
        return tuple(self._redis.get_primaries())


def _one_for_each(keys: Sequence[bytes], values: Any) -> list[Any]:
    """Return the values of keys.

    Raises:
        InvalidResponse: They are none.
    """
    if not isinstance(values, list) or len(values) != len(keys):
        message = "not one value for each key"
        raise exceptions.InvalidResponse(message)
    return values


def _refusals(results: Sequence[Any]) -> list[Failure]:
    """Return the kinds of failure of the commands of a pipeline that the server refused.

    Raises:
        Exception: One failed otherwise.
    """
    failures = [result for result in results if isinstance(result, Exception)]
    for failure in failures:
        if not isinstance(failure, exceptions.ResponseError):
            raise failure
    return [kind_of(failure) for failure in failures]
