"""What a call may want of the cache, and what decides what it finds there."""

from __future__ import annotations

from typing import Any

import pytest
from inglenook.embed.v1 import EmbedRequest, TokenInput
from inglenook.nli.v1 import ClassifyRequest
from inglenook.rerank.v1 import RerankRequest

from services.chassis.errors import InvalidRequest, Relayed
from services.router.items.mode import Mode, mode_of
from tests.support.item_backend import CLASSIFY, EMBED, RERANK
from tests.support.item_desk import Desk, same

ONE = EmbedRequest(inputs=["a"])


@pytest.mark.parametrize("value", ["", "ON", "no", "on,off", "readonly"])
async def test_a_mode_that_there_is_not_is_refused(value: str) -> None:
    """With the name of what is wrong, before anybody is asked."""
    with pytest.raises(InvalidRequest) as refusal:
        mode_of((("inglenook-cache", value),), Mode.ON)
    assert refusal.value.violations == (("inglenook-cache", "must be one of on, off, read-only, refresh"),)


async def test_calls_that_want_no_cache_get_none() -> None:
    """Off: nothing is looked up and nothing kept, and the bytes go through as they are."""
    desk = Desk(EMBED)
    for _ in range(2):
        await desk.ask(ONE, "off")
        assert desk.said["inglenook-cache"] == "bypass"
        assert desk.route.asked[-1].content == ONE.SerializeToString()
    await desk.ask(ONE)
    assert desk.said["inglenook-cache"] == "miss"


async def test_read_only_calls_keep_nothing() -> None:
    """They find what others have kept, and leave no trace."""
    desk = Desk(EMBED)
    await desk.ask(ONE, "read-only")
    await desk.ask(ONE, "read-only")
    assert desk.items.computed.total() == 2
    await desk.ask(ONE, "on")
    await desk.ask(ONE, "read-only")
    assert desk.said["inglenook-cache"] == "hit"


async def test_refreshing_calls_find_nothing_and_keep_what_they_get() -> None:
    """What was kept is computed anew and replaced."""
    desk = Desk(EMBED)
    await desk.ask(ONE)
    response = await desk.ask(ONE, "refresh")
    assert desk.said["inglenook-cache"] == "miss"
    assert response.cached_inputs == 0
    assert desk.items.computed.total() == 2
    await desk.ask(ONE)
    assert desk.items.computed.total() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"input_type": 1},
        {"dimensions": 3},
        {"dimensions": 8},
        {"normalize": False},
        {"truncation": 2},
    ],
)
async def test_every_option_that_decides_an_embedding_tells_entries_apart(change: Any) -> None:
    """None of them may be answered with what was computed without it."""
    desk = Desk(EMBED)
    await desk.ask(ONE)
    request = EmbedRequest(inputs=["a"], **change)
    assert same(await desk.ask(request), await desk.directly(request))
    assert desk.said["inglenook-cache"] == "miss"


@pytest.mark.parametrize("change", [{"encoding": 2}, {"normalize": True}, {"truncation": 1}, {"model": "m"}])
async def test_options_that_change_nothing_share_entries(change: Any) -> None:
    """The encoding is how numbers travel, and a default that is spelled out is still the default."""
    desk = Desk(EMBED)
    await desk.ask(ONE)
    await desk.ask(EmbedRequest(inputs=["a"], **change))
    assert desk.said["inglenook-cache"] == "hit"


async def test_another_query_or_raw_scores_tell_documents_apart() -> None:
    """A score is of a document and a query."""
    desk = Desk(RERANK)
    for request in (
        RerankRequest(query="q", documents=["a"]),
        RerankRequest(query="p", documents=["a"]),
        RerankRequest(query="q", documents=["a"], raw_scores=True),
    ):
        await desk.ask(request)
        assert desk.said["inglenook-cache"] == "miss"
    assert desk.items.computed.total() == 3


async def test_another_fingerprint_finds_nothing_of_the_one_before() -> None:
    """A model that has changed in any way answers for itself."""
    desk = Desk(EMBED)
    await desk.ask(ONE)
    desk.items.fingerprint = "f2"
    response = await desk.ask(ONE)
    assert desk.said["inglenook-cache"] == "miss"
    assert same(response, await desk.directly(ONE))


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (EMBED, EmbedRequest()),
        (EMBED, EmbedRequest(inputs=["a"] * 1025)),
        (EMBED, EmbedRequest(inputs=["a"], input_type=9)),  # type: ignore[arg-type]  # on purpose
        (EMBED, EmbedRequest(inputs=["a"], truncation=9)),  # type: ignore[arg-type]  # on purpose
        (EMBED, EmbedRequest(inputs=["a"], encoding=9)),  # type: ignore[arg-type]  # on purpose
        (EMBED, EmbedRequest(inputs=["a"], token_inputs=[TokenInput(ids=[1])])),
        (EMBED, EmbedRequest(token_inputs=[TokenInput(ids=[1])])),
        (EMBED, EmbedRequest(inputs=["a"], model="another")),
        (RERANK, RerankRequest(query="q", documents=["a"], top_n=2)),
        (RERANK, RerankRequest(query="q", documents=["a"], top_n=0)),
        (RERANK, RerankRequest(query="q")),
        (CLASSIFY, ClassifyRequest(inputs=["a"], labels=["x", "x"])),
        (CLASSIFY, ClassifyRequest(inputs=["a"], labels=["x", " "])),
        (CLASSIFY, ClassifyRequest(inputs=["a"], labels=["x"], hypothesis_template="no slot")),
        (CLASSIFY, ClassifyRequest(inputs=["a"] * 600, labels=["x", "y"])),
        (CLASSIFY, ClassifyRequest(labels=["x", "y"])),
        (CLASSIFY, ClassifyRequest(inputs=["a"])),
    ],
)
async def test_what_only_the_backend_can_judge_goes_to_it_as_it_came(method: str, request_: Any) -> None:
    """It alone decides whether that is an error, and says which."""
    desk = Desk(method)
    content = request_.SerializeToString()
    try:
        await desk.raw(content)
    except Relayed:
        pass
    else:
        assert desk.said["inglenook-cache"] == "bypass"
    assert [(ask.method, ask.content) for ask in desk.route.asked] == [(method, content)]


async def test_fields_of_a_newer_contract_are_passed_on() -> None:
    """They may decide the answer, and nobody here knows how."""
    desk = Desk(EMBED)
    content = ONE.SerializeToString() + b"\xf2\x07\x03new"
    await desk.raw(content)
    assert desk.route.asked[-1].content == content
    assert desk.said["inglenook-cache"] == "bypass"


async def test_a_model_whose_fingerprint_nobody_tells_is_not_looked_up() -> None:
    """The call goes through as it came, and what comes back is not kept."""
    desk = Desk(EMBED)
    desk.items.fingerprint = ""
    for _ in range(2):
        await desk.ask(ONE)
        assert desk.said["inglenook-cache"] == "bypass"
    assert len(desk.cache.get_memory([])) == 0
    assert desk.items.computed.total() == 2


async def test_a_cache_that_is_off_keeps_nothing() -> None:
    """The configuration goes before what calls want."""
    desk = Desk(EMBED, url="off")
    for _ in range(2):
        await desk.ask(ONE, "on")
        assert desk.said["inglenook-cache"] == "bypass"
    assert desk.items.computed.total() == 2
