"""Routes with several backends: who is asked, in which order, and for which model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from inglenook.common.v1 import Capability, ModelInfo
from inglenook.embed.v1 import EmbedRequest
from inglenook.model.v1 import CountTokensRequest
from inglenook.rerank.v1 import RerankRequest
from inglenook.router.v1 import BackendState

from services.chassis.errors import CODES, Reason, Relayed
from services.chassis.load_report import encode
from services.chassis.trailing import FINGERPRINT_KEY
from services.router.errors import NoBackend
from services.router.routing.endpoint import EndpointState
from services.router.routing.outcome import VERDICTS, Next
from services.router.routing.route import Route
from tests.support.backend import SERVICES, Answer, Context, FakeBackend, listing, refuse, serving
from tests.support.configuration import free_addresses
from tests.support.polling import until
from tests.support.scraping import scrape
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import EMBED, Noted, asking, opened, tiered, until_heard, until_state, write_tiers

EMBEDDING = Capability.CAPABILITY_EMBED
RERANK = "/inglenook.rerank.v1.RerankService/Rerank"
COUNT = "/inglenook.model.v1.ModelService/CountTokens"
ASKED = EmbedRequest(model="m", inputs=["a"]).SerializeToString()


def model(name: str, fingerprint: str = "", capability: Capability.ValueType = EMBEDDING) -> ModelInfo:
    """Return what a backend tells of a model."""
    return ModelInfo(name=name, capability=capability, fingerprint=fingerprint)


def section(name: str, space: str) -> str:
    """Return the table of an embedding model."""
    return f'[models.{name}]\ncapability = "embed"\nsource = "dir:{name}"\nvector_space = "{space}"\n'


def refusing(reason: str) -> Answer:
    """Return what refuses every call for a reason."""

    async def answer(content: bytes, context: Context) -> bytes:
        await refuse(context, CODES[Reason(reason)], reason)
        return content

    return answer


@asynccontextmanager
async def pair(
    folder: Path,
    first: FakeBackend,
    second: FakeBackend,
    *,
    more: str = "",
    observer: Noted | None = None,
) -> AsyncIterator[Route]:
    """Run two backends with one replica each, and a route over them."""
    async with serving(first), serving(second), AsyncExitStack() as stack:
        file = write_tiers(folder, {"first": [first], "second": [second]}, more=more)
        yield await stack.enter_async_context(opened(file, observer=observer))


@pytest.mark.parametrize("reason", Reason)
async def test_the_next_backend_is_asked_for_exactly_the_reasons_of_the_table(
    tmp_path: Path, reason: Reason
) -> None:
    """For all others the first one's word is the answer, and the second never hears of the call."""
    first, second = FakeBackend(unary=refusing(reason)), FakeBackend()
    has = [listing(model("m", "f")), listing(model("m", "f"))]
    first.lists, second.lists = has
    noted = Noted()
    moves = VERDICTS[reason].next is not Next.NOBODY
    async with pair(tmp_path, first, second, observer=noted) as route:
        if moves:
            assert (await route.unary(asking(ASKED))).backend == "second"
        else:
            with pytest.raises(Relayed, match=reason):
                await route.unary(asking(ASKED))
    assert len(first.methods) == 1
    assert len(second.methods) == int(moves)
    assert noted.failovers == ({str(reason): 1} if moves else {})
    assert noted.attempts["first", str(reason)] == 1


async def test_replicas_of_a_backend_are_asked_before_the_next_backend(tmp_path: Path) -> None:
    """Full is only this replica; a provider that is down is so for all replicas of the backend."""
    async with AsyncExitStack() as stack:
        first = [
            await stack.enter_async_context(serving(FakeBackend(unary=refusing("QUEUE_FULL"))))
            for _ in range(2)
        ]
        second = await stack.enter_async_context(serving(FakeBackend()))
        file = write_tiers(tmp_path, {"first": first, "second": [second]}, capability="nli")
        route = await stack.enter_async_context(opened(file, "nli"))
        ask = asking(method="/inglenook.nli.v1.NliService/Infer")
        assert (await route.unary(ask)).backend == "second"
        assert [len(fake.methods) for fake in first] == [1, 1]
        for fake in first:
            fake.unary = refusing("UPSTREAM_QUOTA")
        assert (await route.unary(ask)).backend == "second"
    assert sum(len(fake.methods) for fake in first) == 3


async def test_the_first_backend_is_asked_again_as_soon_as_it_is_back(tmp_path: Path) -> None:
    """While nobody listens there, calls go to the second without an attempt at the first."""
    (address,) = free_addresses(1)
    lists = listing(model("m"))
    async with serving(FakeBackend(lists=lists)) as second:
        file = write_tiers(tmp_path, {"first": [address], "second": [second]}, more=section("m", "s"))
        async with opened(file) as route:
            assert (await route.unary(asking(ASKED))).backend == "second"
            async with serving(FakeBackend(lists=lists), address=address) as first:
                await until_state(route, first, EndpointState.HEALTHY)
                await until_heard(route)
                assert (await route.unary(asking(ASKED))).backend == "first"


async def test_a_service_that_explains_itself_is_quoted_before_one_that_is_not_there(tmp_path: Path) -> None:
    """And what is wrong is more telling than that another backend does not have the model."""
    first, second = (
        FakeBackend(unary=refusing("UPSTREAM_QUOTA")),
        FakeBackend(unary=refusing("MODEL_NOT_FOUND")),
    )
    first.lists = second.lists = listing(model("m"))
    async with pair(tmp_path, first, second) as route:
        with pytest.raises(Relayed, match="UPSTREAM_QUOTA"):
            await route.unary(asking(ASKED))

        async def gone(content: bytes, context: Context) -> bytes:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
            return content

        second.unary = gone
        with pytest.raises(Relayed, match="UPSTREAM_QUOTA"):
            await route.unary(asking(ASKED))


async def test_without_any_backend_all_of_them_are_named(tmp_path: Path) -> None:
    """An operator sees from one message what is wrong with each."""
    one, other = free_addresses(2)
    file = write_tiers(tmp_path, {"first": [one], "second": [other]}, capability="nli")
    async with opened(file, "nli") as route:
        with pytest.raises(NoBackend) as raised:
            await route.unary(asking(method="/inglenook.nli.v1.NliService/Infer"))
    assert all(address in str(raised.value) for address in (one, other))


class TestModels:
    """Who has the model decides who is asked."""

    async def test_a_backend_that_does_not_have_the_model_is_not_asked(self, tmp_path: Path) -> None:
        """Not even first: it could only say so."""
        ranks = Capability.CAPABILITY_RERANK
        first = FakeBackend(lists=listing(model("other", capability=ranks)))
        second = FakeBackend(lists=listing(model("m", capability=ranks)))
        async with serving(first), serving(second):
            file = write_tiers(tmp_path, {"first": [first], "second": [second]}, capability="rerank")
            async with opened(file, "rerank") as route:
                content = RerankRequest(model="m", query="q").SerializeToString()
                assert (await route.unary(asking(content, method=RERANK))).backend == "second"
        assert first.methods == []

    async def test_the_same_model_with_another_fingerprint_is_another_model(self, tmp_path: Path) -> None:
        """A process with another file may call something else by that name: its vectors are not taken."""
        first = FakeBackend(lists=listing(model("m", "aaa")), unary=refusing("UPSTREAM_UNAVAILABLE"))
        second = FakeBackend(lists=listing(model("m", "bbb")))
        async with pair(tmp_path, first, second, more=section("m", "s")) as route:
            with pytest.raises(Relayed, match="UPSTREAM_UNAVAILABLE"):
                await route.unary(asking(ASKED))
        assert second.methods == []

    async def test_another_model_of_the_same_space_is_asked_by_its_own_name(self, tmp_path: Path) -> None:
        """Everything else of the request stays, and counting tokens is not comparable."""
        first = FakeBackend(lists=listing(model("m", "aaa")), unary=refusing("UPSTREAM_UNAVAILABLE"))
        second = FakeBackend(lists=listing(model("x", "b"), model("n", "c")))
        more = section("m", "s") + section("x", "t") + section("n", "s")
        request = EmbedRequest(model="m", inputs=["a", "b"], dimensions=3)
        async with pair(tmp_path, first, second, more=more) as route:
            answer = await route.unary(asking(request.SerializeToString()))
            renamed = EmbedRequest.FromString(answer.content)
            counting = CountTokensRequest(model="m", inputs=["a"]).SerializeToString()
            with pytest.raises(Relayed):
                await route.unary(asking(counting, method=COUNT))
        assert answer.backend == "second"
        assert renamed == EmbedRequest(model="n", inputs=["a", "b"], dimensions=3)
        assert second.methods == [EMBED]

    async def test_models_of_different_spaces_never_stand_in_for_each_other(self, tmp_path: Path) -> None:
        """Not even when the first backend is gone."""
        first = FakeBackend(lists=listing(model("m")), unary=refusing("UPSTREAM_UNAVAILABLE"))
        second = FakeBackend(lists=listing(model("n")))
        async with pair(tmp_path, first, second, more=section("m", "s") + section("n", "t")) as route:
            with pytest.raises(Relayed):
                await route.unary(asking(ASKED))
        assert second.methods == []

    async def test_the_model_itself_goes_before_one_that_is_as_good(self, tmp_path: Path) -> None:
        """The order of the route is for backends that have what was asked for."""
        first = FakeBackend(lists=listing(model("n")))
        second = FakeBackend(lists=listing(model("m")))
        async with pair(tmp_path, first, second, more=section("m", "s") + section("n", "s")) as route:
            assert (await route.unary(asking(ASKED))).backend == "second"
        assert first.methods == []


class TestFingerprints:
    """What the cache learns of a model."""

    async def test_the_fingerprint_is_what_the_healthy_replicas_agree_on(self, tmp_path: Path) -> None:
        """While they do not, it is not known."""
        one, other = FakeBackend(lists=listing(model("m", "f"))), FakeBackend(lists=listing(model("m", "f")))
        async with AsyncExitStack() as stack:
            for fake in (one, other):
                await stack.enter_async_context(serving(fake))
            file = write_tiers(tmp_path, {"only": [one, other]})
            route = await stack.enter_async_context(opened(file, heard=False))
            for fake in (one, other):
                await until_state(route, fake, EndpointState.HEALTHY)
            assert await route.fingerprint("m") == "f"
            assert await route.fingerprint("unknown") == ""
            other.lists = listing(model("m", "g"))
            for endpoint in route.endpoints:
                await endpoint.catalog.refresh()
            assert await route.fingerprint("m") == ""
            await other.say(SERVICES[1], serving=False)
            await until_state(route, other, EndpointState.NOT_SERVING)
            assert await route.fingerprint("m") == "f"

    async def test_an_answer_by_another_model_makes_the_replica_list_its_models_again(
        self, tmp_path: Path
    ) -> None:
        """A reload needs no restart, and is noticed with the first answer after it."""

        async def answer(content: bytes, context: Context) -> bytes:
            context.set_trailing_metadata(((FINGERPRINT_KEY, "new"),))
            return content

        fake = FakeBackend(lists=listing(model("m", "old")), unary=answer)
        async with serving(fake), opened(write_tiers(tmp_path, {"only": [fake]})) as route:
            assert await route.fingerprint("m") == "old"
            fake.lists = listing(model("m", "new"))
            assert (await route.unary(asking(ASKED))).fingerprint == "new"

            async def noticed() -> bool:
                return await route.fingerprint("m") == "new"

            await until(noticed)

    async def test_a_backend_that_lists_nothing_has_no_fingerprints(self, tmp_path: Path) -> None:
        """It is not asked again and again for every call."""
        async with serving(FakeBackend()) as fake, opened(write_tiers(tmp_path, {"only": [fake]})) as route:
            assert await route.fingerprint("m") == ""
            assert await route.fingerprint("m") == ""


class TestStrategies:
    """Who is asked first."""

    async def test_calls_go_to_the_backend_that_costs_the_least(self, tmp_path: Path) -> None:
        """However it is listed."""
        async with serving(FakeBackend()) as dear, serving(FakeBackend()) as cheap:
            backends = {"dear": [dear], "cheap": [cheap]}
            write_tiers(tmp_path, backends, 'strategy = "lowest_cost"', capability="nli")
            path = tmp_path / "tiers.toml"
            text = path.read_text(encoding="utf-8").replace("[backends.dear]", "[backends.dear]\ncost = 2.0")
            path.write_text(text, encoding="utf-8")
            from services.config import load

            async with opened(load(path), "nli") as route:
                ask = asking(method="/inglenook.nli.v1.NliService/Infer")
                assert [(await route.unary(ask)).backend for _ in range(3)] == ["cheap"] * 3

    async def test_calls_go_where_less_load_is_reported(self, tmp_path: Path) -> None:
        """Reports come with answers; a replica that says it is busy gets the smaller part."""

        def reporting(load: float) -> Answer:
            async def answer(content: bytes, context: Context) -> bytes:
                context.set_trailing_metadata(encode(load))
                return content

            return answer

        async with (
            serving(FakeBackend(unary=reporting(0.9))) as busy,
            serving(FakeBackend(unary=reporting(0.05))) as calm,
        ):
            file = write_tiers(tmp_path, {"only": [busy, calm]}, 'strategy = "least_loaded"')
            async with opened(file) as route:
                for _ in range(30):
                    await route.unary(asking(ASKED))
                loads = {endpoint.address: endpoint.reported_load for endpoint in route.endpoints}
        assert loads == {busy.address: 0.9, calm.address: 0.05}
        assert len(calm.methods) >= 25

    async def test_calls_go_to_the_fastest_and_to_the_other_now_and_then(self, tmp_path: Path) -> None:
        """The slow one is not forgotten."""

        async def slow(content: bytes, context: Context) -> bytes:
            del context
            await asyncio.sleep(0.1)
            return content

        async with serving(FakeBackend(unary=slow)) as tardy, serving(FakeBackend()) as quick:
            file = write_tiers(tmp_path, {"only": [tardy, quick]}, 'strategy = "lowest_latency"')
            async with opened(file) as route:
                for _ in range(40):
                    await route.unary(asking(ASKED))
        assert 1 <= len(tardy.methods) < 20 < len(quick.methods)


async def test_operators_see_tiers_strategy_load_latency_ejections_and_attempts(tmp_path: Path) -> None:
    """ListBackends, GetStatus and the metrics tell the same story of a route with two backends."""

    async def busy(content: bytes, context: Context) -> bytes:
        context.set_trailing_metadata(encode(0.5))
        return content

    async def broken(content: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.UNAVAILABLE)
        return content

    more = "[channels]\nejection_failures = 2\nejection_seconds = 60\n"
    infer = "/inglenook.nli.v1.NliService/Infer"
    async with AsyncExitStack() as stack:
        bad = await stack.enter_async_context(serving(FakeBackend(unary=broken)))
        good = await stack.enter_async_context(serving(FakeBackend(unary=busy)))
        last = await stack.enter_async_context(serving(FakeBackend()))
        router = await stack.enter_async_context(
            tiered(
                tmp_path,
                {"first": [bad, good], "second": [last]},
                'strategy = "priority"',
                capability="nli",
                more=more,
                metrics=True,
            )
        )
        for _ in range(6):
            await router.raw(infer)(b"\xff\xfe", timeout=LIMIT_SECONDS)
        ejected = await router.until_backend(bad.address, BackendState.BACKEND_STATE_EJECTED)
        backends = {one.endpoint: one for one in await router.backends()}
        samples = await scrape(router.process)
    assert (ejected.ejections, ejected.tier, "2 calls in a row" in ejected.state_detail) == (1, 0, True)
    told = backends[good.address]
    assert (told.load, told.tier, told.name, told.calls_in_flight) == (0.5, 0, "first", 0)
    assert told.median_time.ToTimedelta().total_seconds() > 0
    assert (backends[last.address].tier, backends[last.address].HasField("load")) == (1, False)
    counted: Mapping[str, float] = {
        f"{one.name} {one.labels.get('outcome', one.labels.get('reason', ''))}": one.value
        for one in samples
        if one.name.startswith("inglenook_") and one.labels.get("backend", "first") == "first"
    }
    assert counted["inglenook_attempts_total OK"] == 6
    assert counted["inglenook_attempts_total NO_BACKEND"] == 2
    assert counted["inglenook_failover_total NO_BACKEND"] == 2
    assert counted["inglenook_ejections_total "] == 1
    assert counted["inglenook_backend_seconds_count "] == 6
