"""`[cache]`: URLs that mean a place, and settings that fit them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.config.sections.cache import Cache, RedisPlace, place_of

PLACES = {
    "memory:": None,
    "off": None,
    "redis://host": RedisPlace("server", nodes=(("host", 6379),)),
    "redis://[::1]:7000/3": RedisPlace("server", nodes=(("::1", 7000),), database=3),
    "redis://[::1]": RedisPlace("server", nodes=(("::1", 6379),)),
    "rediss://host:1/": RedisPlace("server", tls=True, nodes=(("host", 1),)),
    "unix:///run/redis.sock": RedisPlace("socket", path="/run/redis.sock"),
    "redis+sentinel://a,b:1/main/2": RedisPlace(
        "sentinel", nodes=(("a", 26379), ("b", 1)), service="main", database=2
    ),
    "rediss+sentinel://a/main": RedisPlace("sentinel", tls=True, nodes=(("a", 26379),), service="main"),
    "redis+cluster://a:1,b": RedisPlace("cluster", nodes=(("a", 1), ("b", 6379))),
}


@pytest.mark.parametrize(("url", "place"), PLACES.items())
def test_a_url_says_where_redis_is(url: str, place: RedisPlace | None) -> None:
    """Ports have defaults, and IPv6 has brackets."""
    assert place_of(url) == place
    assert Cache(url=url).place == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "redis:host",
        "http://host",
        "redis://",
        "redis:///0",
        "redis://a,b",
        "redis://host:port",
        "redis://host:70000",
        "redis://host/name",
        "redis://host/0/1",
        "redis://host/0?timeout=1",
        "redis://user:secret@host",
        "redis+sentinel://host",
        "redis+sentinel://host//0",
        "redis+cluster://host/1",
        "redis+cluster://host,",
        "unix://relative",
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    """With what is wrong, and without what it holds: there may be a password in it."""
    with pytest.raises(ValueError, match="must") as raised:
        place_of(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"password": "env:SECRET"},
        {"username": "user", "url": "redis://host"},
        {"ca": "ca.pem", "url": "redis://host"},
        {"ca": "ca.pem", "url": "unix:///run/redis.sock"},
    ],
)
def test_settings_of_a_connection_that_there_is_not_are_refused(settings: dict[str, str]) -> None:
    """A password without Redis, a user without a password, an authority without TLS."""
    with pytest.raises(ValidationError):
        Cache.model_validate(settings)
