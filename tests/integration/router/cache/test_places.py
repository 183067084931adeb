"""Where a Redis can be: behind a socket, behind sentinels, on many nodes, behind TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from tests.support.caches import answers, counted, entries, keep, keys, left_alone, opened, read
from tests.support.polling import until
from tests.support.redis_server import RedisServer, redis_cluster, redis_sentinel, redis_server

KNOWN = keys(300)
MORE = keys(20, "another")


async def check(url: str, **settings: object) -> None:
    """Check that answers are kept at a place, found there, and purged."""
    await keep(url, [*KNOWN, *MORE], **settings)
    async with opened(url, **settings) as cache:
        assert await cache.get_many([*KNOWN, *MORE]) == answers([*KNOWN, *MORE])
        assert await cache.purge("another") == 20
        assert counted(cache, "errors") == {}
    assert await read(url, [*KNOWN, *MORE], **settings) == [*answers(KNOWN), *[None] * 20]


async def test_a_socket(tmp_path: Path) -> None:
    """On the same machine, without the network."""
    with redis_server(tmp_path, "--unixsocket", str(tmp_path / "s")):
        await check(f"unix://{tmp_path}/s")


async def test_a_database_of_its_own(server: RedisServer) -> None:
    """The number at the end of the URL counts."""
    await check(server.url[:-1] + "3")
    assert server.asking.dbsize() == 0


async def test_sentinels_name_the_server_and_its_successor(tmp_path: Path, server: RedisServer) -> None:
    """When they name another one, answers are kept there."""
    with redis_sentinel(tmp_path, server, "main") as sentinel, redis_server(tmp_path) as successor:
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/2"
        await check(url)
        async with opened(url, memory_bytes=0, probe_seconds=0.05) as cache:
            assert await cache.get_many(KNOWN) == answers(KNOWN)
            sentinel.asking.execute_command("SENTINEL REMOVE", "main")
            sentinel.asking.execute_command("SENTINEL MONITOR", "main", "127.0.0.1", successor.port, 1)
            server.kill()

            async def is_kept() -> bool:
                cache.put_many(entries(KNOWN), cache.generation)
                return await cache.get_many(KNOWN) == answers(KNOWN)

            await until(is_kept)
        assert await read(url, KNOWN) == answers(KNOWN)
        assert successor.asking.info("keyspace")["db2"]["keys"] == 300


async def test_a_cluster_keeps_answers_on_all_its_nodes(tmp_path: Path) -> None:
    """They are found, written and purged on whichever node has them; a missing node is no error of a call."""
    with redis_cluster(tmp_path) as nodes:
        url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{nodes[0].port}"
        await check(url)
        kept = [node.asking.dbsize() for node in nodes]
        assert sum(kept) == 300
        assert min(kept) > 90
        settings = {"timeout_seconds": 0.2, "probe_seconds": 0.05, "memory_bytes": 0}
        async with opened(url, **settings) as cache:
            nodes[1].freeze()
            try:
                while not left_alone(cache):
                    assert await cache.get_many(KNOWN) == [None] * 300
            finally:
                nodes[1].thaw()

            async def are_found() -> bool:
                return await cache.get_many(KNOWN) == answers(KNOWN)

            await until(are_found)
        async with opened(url) as fresh:
            assert await fresh.purge() == 300


async def test_a_user_with_the_rights_that_the_documentation_gives_it(
    tmp_path: Path, server: RedisServer
) -> None:
    """They are enough for everything, and not for keys of others."""
    page = (Path(__file__).parents[4] / "docs" / "cache.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER ")]
    server.asking.execute_command(*line.split())
    (tmp_path / "password").write_text("password", encoding="utf-8")
    settings = {"username": "inglenook", "password": f"file:{tmp_path / 'password'}"}
    await check(server.url, **settings)
    assert server.asking.acl_getuser("inglenook")["keys"] == [b"inglenook:cache:*"]


@asynccontextmanager
async def behind_tls(server: RedisServer, authority: trustme.CA) -> AsyncIterator[str]:
    """Bring what comes over TLS to a Redis, and return the URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            sink.write(piece)
            await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, forth), pass_on(back, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as front:
        yield f"rediss://localhost:{front.sockets[0].getsockname()[1]}"


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path, server: RedisServer) -> None:
    """A server that another authority vouches for is not trusted."""
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with behind_tls(server, authority) as url:
        await check(url, ca=str(tmp_path / "ca.pem"))
        async with opened(url, ca=str(tmp_path / "other.pem"), memory_bytes=0) as cache:
            assert await cache.get_many(KNOWN) == [None] * 300
            assert counted(cache, "errors") == {"connection": 1}
