"""The tool `inglenook` against a cluster that embeds, reranks and infers, as one person starts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.capabilities import ENGINES, SERVICES
from services.cli.client import serves
from services.cli.cluster import Cluster
from services.config import ConfigurationFile, load
from tests.support.configuration import free_addresses
from tests.support.tiny import Shape, write_model
from tests.support.tool import answer, run

START_SECONDS = 50
LABELS = ("contradiction", "entailment", "neutral")

CONFIGURATION = """
[models.small]
capability = "embed"
source = "dir:{encoder}"

[models.ranker]
capability = "rerank"
kind = "bi-encoder"
source = "dir:{encoder}"

[models.judge]
capability = "nli"
source = "dir:{judge}"

[routes]
embed = ["embed"]
rerank = ["rerank"]
nli = ["nli"]

[engine]
threads = 1
calibrate = false

[shutdown]
drain_seconds = 0
"""

REPLICAS = """
[backends.{service}]
endpoints = [{endpoints}]

[services.{service}]
listen = {listen}
metrics_listen = "{metrics}"
"""

ROUTER = """
[services.router]
http_listen = "off"
listen = "{listen}"
metrics_listen = "{metrics}"
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of an encoder and of a model with the three NLI classes, in an unusual order."""
    folder, shape = tmp_path_factory.mktemp("models"), Shape(max_position_embeddings=160)
    names = {str(index): label for index, label in enumerate(LABELS)}
    return {
        "encoder": write_model(folder / "encoder", shape=shape),
        "judge": write_model(folder / "judge", shape=shape, pooling=None, labels=3, id2label=names),
    }


def write(folder: Path, models: dict[str, Path], replicas: int = 1) -> ConfigurationFile:
    """Write and load a configuration with a model of each capability; rerank has `replicas` endpoints."""
    router, router_metrics, *rest = free_addresses(2 + 2 * len(ENGINES) + replicas)
    parts = [CONFIGURATION.format(**models), ROUTER.format(listen=router, metrics=router_metrics)]
    for service in ENGINES:
        addresses = [f'"{rest.pop()}"' for _ in range(replicas if service == "rerank" else 1)]
        parts.append(
            REPLICAS.format(
                service=service, endpoints=", ".join(addresses), listen=addresses[0], metrics=rest.pop()
            )
        )
    path = folder / "inglenook.toml"
    path.write_text("".join(parts), encoding="utf-8")
    return load(path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[Cluster]:
    """Run a cluster with all capabilities and two rerank replicas."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(write(folder, models, replicas=2), logs=folder) as cluster:
        cluster.start_all()
        cluster.wait_until_serving(START_SECONDS)
        yield cluster


@pytest.fixture(scope="module")
def file(cluster: Cluster) -> ConfigurationFile:
    """Return the configuration of the cluster that runs."""
    return cluster.file


def test_the_cluster_has_a_process_per_endpoint_and_is_up_when_all_capabilities_are(cluster: Cluster) -> None:
    """Engines come first, replicas included; the router is last, and by then it reaches all of them."""
    names = [child.name for child in cluster.children]
    assert names == ["embed", "rerank", "rerank", "nli", "router"]
    router = cluster.children[-1].listen
    assert all(serves(router, SERVICES[capability]) for capability in ENGINES)


def test_rerank_orders_the_documents_it_was_given(file: ConfigurationFile) -> None:
    """The document that is the query itself comes first, from arguments as from a pipe."""
    document = answer(file, "rerank", "the cat sits", "a dog runs", "the cat sits", "green")
    assert document["results"][0]["index"] == 1
    assert document["servedBy"].startswith("rerank@")
    scores = [one["score"] for one in document["results"]]
    assert scores == sorted(scores, reverse=True)
    piped = answer(file, "rerank", "the cat sits", "--top-n", "1", given="a dog runs\nthe cat sits\n")
    assert [one["index"] for one in piped["results"]] == [1]
    assert "the cat sits" in run(file, "rerank", "the cat sits", "a dog runs", "the cat sits").stdout


def test_rerank_tells_which_document_is_empty(file: ConfigurationFile) -> None:
    """The path counts from 0, as the contract does."""
    done = run(file, "rerank", "the cat", "a dog", " ", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["reason"]) == (1, "INVALID_REQUEST")
    assert [one["field"] for one in error["fields"]] == ["documents[1]"]


def test_nli_gives_probabilities_that_add_up(file: ConfigurationFile) -> None:
    """All three classes of the model are named, whatever their order in its outputs."""
    (result,) = answer(file, "nli", "the cat sits", "a cat sits")["results"]
    assert set(result) == {"entailment", "neutral", "contradiction"}
    assert sum(result.values()) == pytest.approx(1, abs=1e-5)
    piped = answer(file, "nli", given="the cat sits\ta cat sits\na dog\ta cat\n")
    assert piped["results"][0] == pytest.approx(result, abs=1e-5)
    assert len(piped["results"]) == 2


def test_classify_scores_every_label(file: ConfigurationFile) -> None:
    """Scores fall and add up to 1; judged one by one, they need not."""
    labels = ("--label", "cat", "--label", "dog", "--label", "tree")
    (result,) = answer(file, "classify", "the cat sits", *labels)["results"]
    scores = [one["score"] for one in result["scores"]]
    assert {one["label"] for one in result["scores"]} == {"cat", "dog", "tree"}
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    several = ("--multi-label", "--template", "the {} sits")
    assert len(answer(file, "classify", "the cat", *labels, *several)["results"][0]["scores"]) == 3


def test_classify_refuses_a_template_without_a_place_for_the_label(file: ConfigurationFile) -> None:
    """The field is named as the contract calls it."""
    done = run(file, "classify", "the cat", "--label", "cat", "--template", "nothing", "--json")
    (field,) = json.loads(done.stdout)["error"]["fields"]
    assert (done.returncode, field["field"]) == (1, "hypothesis_template")


def test_a_model_of_another_capability_is_refused_with_what_it_is(file: ConfigurationFile) -> None:
    """Nobody gets similarities where a judgement was asked for."""
    done = run(file, "nli", "the cat", "a cat", "--model", "small", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["reason"]) == (1, "WRONG_CAPABILITY")
    assert "embed" in error["message"]


def test_tokens_are_counted_by_the_model_that_is_named(file: ConfigurationFile) -> None:
    """Where several have a tokenizer, the tool lists them instead of guessing."""
    counted = answer(file, "tokens", "the cat sits", "a dog", "--model", "judge")
    assert (counted["tokenCounts"], counted["maxInputTokens"], counted["model"]) == ([5, 4], 160, "judge")
    done = run(file, "tokens", "the cat sits")
    assert done.returncode == 2
    assert "small, ranker, judge" in done.stderr


def test_info_tells_the_classes_of_a_model(file: ConfigurationFile) -> None:
    """An operator sees what a model is made of without opening its files."""
    info = answer(file, "models", "info", "judge")["model"]
    assert info["labels"] == list(LABELS)
    assert (info["capability"], info["architecture"]) == ("CAPABILITY_NLI", "bert")
    shown = run(file, "models", "info", "judge").stdout
    assert "contradiction, entailment, neutral" in shown
    assert info["fingerprint"] in shown


def test_a_model_is_taken_out_of_memory_and_put_back(file: ConfigurationFile) -> None:
    """Every replica does it, and the tool says what the model was and is."""
    taken = run(file, "models", "unload", "ranker", "judge")
    assert taken.returncode == 0, taken.stderr
    assert [line.split(" (")[0] for line in taken.stdout.splitlines()] == [
        "ranker is available",
        "judge is available",
    ]
    listed = {one["name"]: one["state"] for one in answer(file, "models", "list")["models"]}
    assert listed["ranker"] == listed["judge"] == "MODEL_STATE_AVAILABLE"
    loaded = answer(file, "models", "load", "ranker", "judge")["models"]
    assert [(one["name"], one["stateBefore"], one["state"]) for one in loaded] == [
        ("ranker", "MODEL_STATE_AVAILABLE", "MODEL_STATE_READY"),
        ("judge", "MODEL_STATE_AVAILABLE", "MODEL_STATE_READY"),
    ]
    assert all(one["seconds"] > 0 for one in loaded)
    assert len(answer(file, "nli", "the cat", "a cat")["results"]) == 1


def test_an_unknown_model_is_told_with_those_there_are(file: ConfigurationFile) -> None:
    """Load, unload and info agree about it."""
    for command in ("info", "load", "unload"):
        done = run(file, "models", command, "nothing", "--json")
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["reason"]) == (1, "MODEL_NOT_FOUND")
        assert "small, ranker, judge" in error["message"]


def test_demo_shows_all_of_it(file: ConfigurationFile) -> None:
    """With a model of each engine only chat is left out, and each part says who answered."""
    document = answer(file, "demo")
    assert document["leftOut"] == ["chat"]
    served = [
        document["embed"]["query"]["servedBy"],
        document["rerank"]["response"]["servedBy"],
        document["infer"]["response"]["servedBy"],
        *(one["response"]["servedBy"] for one in document["classify"]),
    ]
    assert [name.split("@")[0] for name in served] == ["embed", "rerank", "nli", "nli", "nli"]


def test_demo_starts_every_service_where_none_runs(tmp_path: Path, models: dict[str, Path]) -> None:
    """On a fresh machine one command shows all that it can, and it leaves no process behind."""
    own = write(tmp_path, models)
    document = answer(own, "demo")
    assert document["router"].endswith("(started for this demo)")
    assert document["leftOut"] == ["chat"]
    assert run(own, "status").returncode == 1


def test_a_service_without_a_model_that_loads_ends_the_start_with_the_cause(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    """Nobody waits for what cannot come, or has to look for the reason in a log."""
    own = write(tmp_path, {**models, "judge": tmp_path / "nothing"})
    for command in ("demo", "up"):
        done = run(own, command)
        assert done.returncode == 1
        assert "nli has no model that can be loaded" in done.stderr
        assert "model judge: there is no folder" in done.stderr
    assert run(own, "status").returncode == 1
