"""Keys over HTTP, from a client to a backend."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import openai
import pytest

from tests.support.backend import FakeBackend, serving
from tests.support.guarded import embed, guarded
from tests.support.http_side import HttpSide, asking

KEY = "ik-of-the-test"
MORE = f"""
[cache]
url = "off"
[access]
required = true
[access.keys.tester]
hash = "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
allow = ["embed"]
[access.keys.hasty]
hash = "sha256:{hashlib.sha256(b"hasty").hexdigest()}"
requests_per_minute = 1
"""


@pytest.fixture(scope="module")
async def side(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HttpSide]:
    """Run a router that wants keys."""
    folder = tmp_path_factory.mktemp("keys")
    async with (
        serving(FakeBackend(unary=embed)) as fake,
        guarded(folder, fake, MORE) as router,
        asking(router.http_address) as side,
    ):
        yield side


async def test_a_client_with_a_key_is_answered(side: HttpSide) -> None:
    """As OpenAI's client sends it, or under the name that others use."""
    client = side.openai.with_options(api_key=KEY)
    assert (await client.embeddings.create(model="small", input="a")).data
    told = await side.post("/v1/embeddings", {"model": "small", "input": "a"}, {"x-api-key": KEY})
    assert told.status_code == 200


async def test_a_client_without_a_good_key_gets_the_error_it_knows(side: HttpSide) -> None:
    """It does not ask again."""
    with pytest.raises(openai.AuthenticationError) as raised:
        await side.openai.with_options(max_retries=2).embeddings.create(model="small", input="a")
    assert raised.value.code == "invalid_api_key"
    assert raised.value.response.headers["www-authenticate"] == "Bearer"


async def test_a_key_for_something_else_is_forbidden(side: HttpSide) -> None:
    """Which is another error."""
    client = side.openai.with_options(api_key=KEY)
    with pytest.raises(openai.PermissionDeniedError):
        await client.chat.completions.create(model="a", messages=[{"role": "user", "content": "Hi"}])


async def test_a_key_that_is_used_too_often_is_told_when_to_come_back(side: HttpSide) -> None:
    """In seconds, as all clients read it."""
    client = side.openai.with_options(api_key="hasty")
    await client.models.list()
    with pytest.raises(openai.RateLimitError) as raised:
        await client.models.list()
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("path", "without", "with_one"),
    [
        ("/health", 200, 200),
        ("/openapi.json", 200, 200),
        ("/metrics", 401, 200),
        ("/status", 401, 200),
        ("/v1/models", 401, 200),
        ("/v1/models/nobody", 401, 404),
    ],
)
async def test_what_needs_a_key(side: HttpSide, path: str, without: int, with_one: int) -> None:
    """Whatever says something of this cluster, but not whether it is well."""
    assert (await side.plain.get(path)).status_code == without
    with_key = await side.plain.get(path, headers={"authorization": f"Bearer {KEY}"})
    assert with_key.status_code == with_one
