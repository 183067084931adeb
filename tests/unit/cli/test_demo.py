"""`inglenook demo`: what it shows, against a router whose answers are canned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
)
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult
from typer.testing import CliRunner, Result

from services.cli.commands.demo.texts import BEST, CANDIDATES, DOCUMENTS, PAIRS, SORTINGS
from services.cli.main import app
from services.cli.texts import SHOWN_BESIDE, SHOWN_CHARACTERS
from services.router.errors import NoBackend
from tests.unit.cli.canned import SERVED_BY, CannedRouter, cost

MODELS = {"small": "embed", "ranker": "rerank", "judge": "nli"}


@pytest.fixture(autouse=True)
def _answers(router: CannedRouter) -> None:
    def embed(request: EmbedRequest) -> EmbedResponse:
        count = len(request.inputs)
        embeddings = [Embedding(values=[1.0, position / count]) for position in range(count)]
        return EmbedResponse(embeddings=embeddings, model=request.model, **cost(5))

    def rerank(request: RerankRequest) -> RerankResponse:
        results = [RerankResult(index=index, score=0.5) for index in range(request.top_n)]
        return RerankResponse(results=results, model=request.model, **cost(6))

    def infer(request: InferRequest) -> InferResponse:
        results = [InferResult(entailment=0.5, neutral=0.3, contradiction=0.2) for _ in request.pairs]
        return InferResponse(results=results, model=request.model, **cost(7))

    def classify(request: ClassifyRequest) -> ClassifyResponse:
        scores = [LabelScore(label=label, score=0.25) for label in request.labels]
        return ClassifyResponse(results=[ClassifyResult(scores=scores)], model=request.model, **cost(8))

    router.on(EmbedRequest, embed)
    router.on(RerankRequest, rerank)
    router.on(InferRequest, infer)
    router.on(ClassifyRequest, classify)


def demo(router: CannedRouter, folder: Path, *options: str, models: dict[str, str]) -> Result:
    """Run the demo with a configuration of this router and `models`: name and capability."""
    tables = [f'[models.{name}]\ncapability = "{what}"\nsource = "dir:x"\n' for name, what in models.items()]
    routes = [f'{capability} = ["{capability}"]' for capability in dict.fromkeys(models.values())]
    listen = f'[services.router]\nlisten = "{router.address}"\n'
    path = folder / "inglenook.toml"
    path.write_text("\n".join([*tables, "[routes]", *routes, listen]), encoding="utf-8")
    return CliRunner().invoke(app, ["demo", "--config", str(path), *options])


def test_demo_shows_every_capability_with_who_answered(router: CannedRouter, tmp_path: Path) -> None:
    """A newcomer sees four things that the cluster can do, each with its texts, in one go."""
    done = demo(router, tmp_path, models=MODELS)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"router     {router.address} (already running)\n")
    starts = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert [word for word in starts if word in {"embed", "rerank", "infer", "classify"}] == [
        "embed",
        "rerank",
        "infer",
        "classify",
    ]
    assert done.stdout.count(f"answered by {SERVED_BY}") == len(router.requests) == 6
    for premise, hypothesis in PAIRS:
        assert premise in done.stdout
        assert hypothesis in done.stdout


def test_demo_as_json_is_one_document_with_a_part_for_each(router: CannedRouter, tmp_path: Path) -> None:
    """A program can check every answer of the demo, and knows who gave it."""
    document = json.loads(demo(router, tmp_path, "--json", models=MODELS).stdout)
    assert set(document) == {"router", "embed", "rerank", "infer", "classify", "leftOut"}
    assert document["leftOut"] == ["chat"]
    scores = [one["similarity"] for one in document["embed"]["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(DOCUMENTS)
    assert document["embed"]["query"]["servedBy"] == SERVED_BY
    assert document["rerank"]["request"]["documents"] == list(CANDIDATES)
    assert len(document["rerank"]["response"]["results"]) == BEST
    assert len(document["infer"]["response"]["results"]) == len(PAIRS)
    assert [one["request"]["labels"] for one in document["classify"]] == [
        list(sorting.labels) for sorting in SORTINGS
    ]
    assert document["classify"][0]["response"]["servedBy"] == SERVED_BY


def test_what_there_is_no_model_for_is_left_out_with_a_line(router: CannedRouter, tmp_path: Path) -> None:
    """A file with one model still has its demo, and the reader knows what it does not show."""
    done = demo(router, tmp_path, models={"small": "embed"})
    assert done.exit_code == 0, done.stderr
    assert "rerank: left out, inglenook.toml routes no rerank model" in done.stdout
    assert "infer and classify: left out, inglenook.toml routes no nli model" in done.stdout
    assert {type(request) for request in router.requests} == {EmbedRequest}
    document = json.loads(demo(router, tmp_path, "--json", models={"small": "embed"}).stdout)
    assert document["leftOut"] == ["rerank", "nli", "chat"]


def test_of_several_models_the_first_of_the_file_is_shown(router: CannedRouter, tmp_path: Path) -> None:
    """The demo names the model that it means, so that a second one cannot end it."""
    assert demo(router, tmp_path, models={"first": "embed", "second": "embed"}).exit_code == 0
    assert {request.model for request in router.requests} == {"first"}


def test_without_any_model_there_is_nothing_to_show(router: CannedRouter, tmp_path: Path) -> None:
    """An empty file is told as what it is, and starts nothing."""
    done = demo(router, tmp_path, models={})
    assert done.exit_code == 2
    assert "no model with a route" in done.stderr


def test_a_part_that_fails_ends_the_demo_with_its_reason(router: CannedRouter, tmp_path: Path) -> None:
    """What was shown before stays shown; nobody takes half a demo for a whole one."""

    def refuse(request: RerankRequest) -> RerankResponse:
        raise NoBackend(capability="rerank", detail="none of its replicas can be reached")

    router.on(RerankRequest, refuse)
    done = demo(router, tmp_path, models=MODELS)
    assert done.exit_code == 1
    assert "similarity" in done.stdout.lower()
    assert "NO_BACKEND: no backend for rerank" in done.stderr
    error = json.loads(demo(router, tmp_path, "--json", models=MODELS).stdout)["error"]
    assert error["reason"] == "NO_BACKEND"


def test_the_texts_of_the_demo_fit_their_tables() -> None:
    """Where the terminal is wide enough, no text is shown with its end cut off."""
    assert max(len(text) for pair in PAIRS for text in pair) <= SHOWN_BESIDE
    assert max(len(text) for text in (*CANDIDATES, *(one.text for one in SORTINGS))) <= SHOWN_CHARACTERS
