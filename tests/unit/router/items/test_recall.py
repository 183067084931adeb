"""Calls that come again, word for word, and what keeps them from being answered so."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from inglenook.embed.v1 import EmbedRequest, Encoding

from services.router.items import recall
from services.router.items.embed import EmbedQuestion
from services.router.items.recall import Recall
from tests.support.item_backend import EMBED
from tests.support.item_desk import Desk, same


def question(content: bytes) -> EmbedQuestion:
    """Return a call taken apart."""
    return EmbedQuestion(EmbedRequest.FromString(content), "m")


async def asked(desk: Desk, times: int, **options: Any) -> Any:
    """Ask the same several times; return the last answer."""
    request = EmbedRequest(model="m", **{"inputs": ["a", "b"], **options})
    for _ in range(times - 1):
        await desk.ask(request)
    return await desk.ask(request)


async def test_a_call_that_comes_again_gets_the_same_answer() -> None:
    """Computed, looked up, remembered: nobody can tell which, but for what it has cost."""
    desk = Desk(EMBED)
    computed = await asked(desk, 1)
    for _ in range(3):
        again = await asked(desk, 1)
        assert (again.cached_inputs, again.usage.input_tokens) == (2, 0)
        assert again.timings.HasField("total_time")
        assert desk.said["inglenook-cache"] == "hit"
        assert same(again, computed)  # which clears what it does not compare
    assert len(desk.route.asked) == 1


async def test_encodings_of_one_call_are_remembered_apart() -> None:
    """Their bytes differ, and so do those of their answers."""
    desk = Desk(EMBED)
    values = await asked(desk, 3)
    packed = await asked(desk, 3, encoding=Encoding.ENCODING_FLOAT32)
    assert all(one.values and not one.packed for one in values.embeddings)
    assert all(one.packed and not one.values for one in packed.embeddings)


async def test_what_was_purged_is_not_recalled() -> None:
    """What is remembered are questions, never answers."""
    desk = Desk(EMBED)
    await asked(desk, 3)
    await desk.cache.purge()
    again = await asked(desk, 1)
    assert (again.cached_inputs, desk.said["inglenook-cache"]) == (0, "miss")


async def test_another_model_is_asked_again(monkeypatch: Any) -> None:
    """A fingerprint that is looked at every time is one that has changed at once."""
    monkeypatch.setattr(recall, "FINGERPRINT_SECONDS", 0.0)
    desk = Desk(EMBED)
    before = await asked(desk, 3)
    desk.items.fingerprint = "another"
    after = await asked(desk, 1)
    assert desk.said["inglenook-cache"] == "miss"
    assert not same(after, before)


async def test_calls_of_another_configuration_are_forgotten() -> None:
    """A name that was left out may mean another model now."""
    desk, held = Desk(EMBED), Recall()
    route: Any = desk.route
    first: Any = object()
    second: Any = object()
    content = EmbedRequest(model="m", inputs=["a"]).SerializeToString()
    await asked(desk, 1, inputs=["a"])
    assert await held.answer(content, first, route, desk.cache) is None
    await held.remember(content, question(content), "m", route)
    assert await held.answer(content, first, route, desk.cache) is not None
    assert await held.answer(content, second, route, desk.cache) is None
    assert len(held) == 0


async def test_calls_are_remembered_within_a_number_of_bytes(monkeypatch: Any) -> None:
    """The oldest go first, and long ones are not remembered at all."""
    monkeypatch.setattr(recall, "MOST_BYTES", 1_000)
    route: Any = Desk(EMBED).route
    held = Recall()
    for number in range(100):
        content = EmbedRequest(model="m", inputs=[f"text {number:03} {'x' * 40}"]).SerializeToString()
        await held.remember(content, question(content), "m", route)
    assert 10 < len(held) < 20  # of some 60 bytes each
    before = len(held)
    long = EmbedRequest(model="m", inputs=["x" * recall.MOST_CALL_BYTES]).SerializeToString()
    await held.remember(long, question(long), "m", route)
    assert len(held) == before


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
async def test_any_call_may_come_any_number_of_times(texts: list[str]) -> None:
    """Whatever was asked before, and however often, the answer is the backend's."""
    desk = Desk(EMBED)
    request = EmbedRequest(model="m", inputs=texts)
    expected = await desk.directly(request)
    for _ in range(3):
        assert same(await desk.ask(request), expected)
